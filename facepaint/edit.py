"""Edit: what is asked of a face. Flags, their help and forms are derived from its fields."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facepaint.errors import EditError
from facepaint.names import BLENDSHAPES, EXPRESSIONS, LOOKS, PAIRS, REGIONS

if TYPE_CHECKING:
    from facepaint.face import Face

STRONGEST = 1.5  # beyond 1 is caricature


def _asked(help: str, metavar: str, **more: Any) -> Any:
    """A field and what a command line or a form says of it."""
    return field(metadata={"help": help, "metavar": metavar}, **more)


@dataclass(frozen=True)
class Edit:
    """What to give a face: an expression, a gaze, single muscles; or another face's expression.

    to: one of EXPRESSIONS. strength: 0 leaves the face as it is, 1 gives all that is asked, up to
    1.5 exaggerates. set: blendshapes by name, or by the short name of a pair (mouthSmile), each 0
    to 1; the rest stays as it is or as `to` or `like` say. like: a face whose blendshapes are
    taken, not together with `to`. look: where the eyes look, one of LOOKS; None leaves them as they
    are; an eye whose eyeLook… is in `set` looks as that says. regions: the only parts that may
    change, of REGIONS; () for the whole face. Raises EditError for anything else.
    """

    to: str | None = _asked("neutral, happy, sad, angry, …", "EXPRESSION", default=None)
    strength: float = _asked(
        "0 changes nothing, 1 gives the whole expression; up to 1.5 exaggerates.", "S", default=1.0
    )
    set: Mapping[str, float] = _asked(
        "One muscle, as `facepaint faces` names it, 0 to 1; may be repeated. mouthSmile sets "
        "mouthSmileLeft and mouthSmileRight.",
        "NAME=VALUE",
        default_factory=dict,
    )
    like: Face | None = _asked(  # noqa: RUF009 (why this one and no other, ruff does not say)
        "Take the expression of the face in another picture; #1 for its second face.",
        "PHOTO[#N]",
        default=None,
    )
    look: str | None = _asked(
        "camera turns the eyes to whoever looks at the photo.", "WHERE", default=None
    )
    regions: tuple[str, ...] = _asked(
        f"Only this part: {', '.join(REGIONS)}; may be repeated.", "PART", default=()
    )

    def __post_init__(self) -> None:
        if self.to is None and self.like is None and not self.set and self.look is None:
            raise EditError(
                "nothing is asked of the face: give an expression (to), set, like or look"
            )
        if self.to is not None and self.like is not None:
            raise EditError("to and like contradict each other: give one of them")
        if self.to is not None and self.to not in EXPRESSIONS:
            raise EditError(unknown("expression", self.to, EXPRESSIONS))
        if self.look is not None and self.look not in LOOKS:
            raise EditError(unknown("look", self.look, LOOKS))
        if not 0 <= self.strength <= STRONGEST:  # also false for NaN
            raise EditError(f"strength {self.strength:g} is outside 0 to {STRONGEST:g}")
        for region in self.regions:
            if region not in REGIONS:
                raise EditError(unknown("region", region, REGIONS))
        object.__setattr__(self, "set", _singles(self.set))

    def __hash__(self) -> int:
        muscles = tuple(self.set.items())
        return hash((self.to, self.strength, muscles, self.like, self.look, self.regions))


def _singles(asked: Mapping[str, float]) -> dict[str, float]:
    """Blendshapes one by one; EditError for unknown names, values outside 0 to 1, and a
    blendshape that is set both by itself and by its pair."""
    result: dict[str, float] = {}
    for name, value in asked.items():
        single = name in BLENDSHAPES and name != "_neutral"
        if not single and name not in PAIRS:
            raise EditError(unknown("blendshape", name, (*PAIRS, *BLENDSHAPES[1:])))
        if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
            raise EditError(f"{name}={value} is outside 0 to 1")
        for one in (name,) if single else PAIRS[name]:
            if one in result:
                raise EditError(f"{one} is set twice, by itself and by {_pair_of(one)}")
            result[one] = float(value)
    return result


def _pair_of(name: str) -> str:
    return next(pair for pair, both in PAIRS.items() if name in both)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that there is not: the nearest ones, or all."""
    names = list(known)
    lower = {n.lower(): n for n in names}
    near = [lower[n] for n in difflib.get_close_matches(str(name).lower(), lower, 2, 0.6)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}"
    return f"unknown {what} {name!r}; {hint}"


def parse_set(text: str) -> tuple[str, float]:
    """NAME=VALUE, as a command line gives it; EditError where it is not that."""
    name, equals, value = text.partition("=")
    try:
        if equals:
            return name.strip(), float(value)
    except ValueError:
        pass
    raise EditError(f"{text!r} is not like mouthSmile=0.8")


def parse_face(text: str) -> tuple[int, str | None, float | None]:
    """N, N:EXPRESSION, N@STRENGTH or N:EXPRESSION@STRENGTH; EditError where it is not that."""
    head, at, strength = text.partition("@")
    index, colon, to = head.partition(":")
    try:
        asked = int(index), to if colon else None, float(strength) if at else None
    except ValueError:
        asked = None
    if asked is None or (colon and not to):
        raise EditError(f"{text!r} is not like 0, 0:happy or 0:happy@0.6")
    return asked
