"""Shelf: the photos that pages have open, in memory only."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from facepaint.errors import EditError
from facepaint.web.draft import Draft
from facepaint.web.preview import Preview

MOST = 300_000_000  # pixels of all photos together


@dataclass
class Open:
    """A photo that a page has open: its draft, the faces chosen, and the preview.

    version counts the changes, so that a page can tell an older picture from a newer one.
    """

    key: str
    draft: Draft
    preview: Preview
    chosen: tuple[int, ...]
    side: str = "both"
    version: int = 0

    def now(self, draft: Draft) -> None:
        self.draft = draft
        self.version += 1


class Shelf:
    """Open photos by keys that nobody can guess; the one longest unused makes room for new ones."""

    def __init__(self, most: int = MOST) -> None:
        """most: pixels of all photos together; the last one stays whatever its size."""
        self._most = most
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, draft: Draft, preview: Preview) -> Open:
        made = Open(secrets.token_urlsafe(16), draft, preview, tuple(f.index for f in draft.faces))
        made.chosen = made.chosen[:1]
        with self._lock:
            self._open[made.key] = made
            while len(self._open) > 1 and self._pixels() > self._most:
                self._open.popitem(last=False)
        return made

    def get(self, key: str | None) -> Open:
        """EditError where the photo was put away."""
        with self._lock:
            if key is None or key not in self._open:
                raise EditError("this photo was put away to make room; open it again")
            self._open.move_to_end(key)
            return self._open[key]

    def drop(self, key: str | None) -> None:
        with self._lock:
            self._open.pop(key or "", None)

    def _pixels(self) -> int:
        return sum(o.draft.photo.pixels[..., 0].size for o in self._open.values())
