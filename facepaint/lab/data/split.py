"""Split: who is kept for measuring and never trained on. By person, never by photo."""

from __future__ import annotations

import zlib

_EVERY = 8  # one person in so many
# the rule, as recipes, cards and metrics name it
SPLIT = f"by person: crc32 of the name, one in {_EVERY} held out, or the set's own test part"


def is_held_out(subject: str) -> bool:
    """Whether this person is kept for measuring: by a hash, so the same on every machine."""
    return zlib.crc32(str(subject).encode()) % _EVERY == 0
