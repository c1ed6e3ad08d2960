"""Samples for the painter: pairs of one person, singles with a change that is asked of them,
relays, singles that are asked for an expression that one step reaches too faintly, or to bare the
teeth, and returns, photos that a teacher first makes something else, so that the way back has an
answer."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from facepaint import align, rig
from facepaint.align import CROP
from facepaint.change import GAZE, moving
from facepaint.errors import LabError
from facepaint.face import BLENDSHAPES, EXPRESSIONS, FloatArray, head_turn
from facepaint.lab.data import augment, mouths, moves, ratios
from facepaint.lab.data.faces import FaceSet, mirror
from facepaint.lab.data.regions import nose, opening, region
from facepaint.lab.data.topology import SMILING
from facepaint.mesh import mirrored_blendshapes, mirrored_landmarks
from facepaint.motion import motion
from facepaint.segment import face_mask

HAPPY, NEUTRAL = EXPRESSIONS.index("happy"), EXPRESSIONS.index("neutral")
_ALL = range(len(EXPRESSIONS))
_OF_MUSCLES = 0.5  # of how far the others move, for those whose head's motion is taken out
_DEEPEST = 0.22  # shade, a little less than the painter can give
OTHERS = [e for e in _ALL if e not in (HAPPY, NEUTRAL)]
_A_SMILE = 0.35  # the mean of SMILING from which on a face smiles
_OPEN = BLENDSHAPES.index("jawOpen")
_OPENERS = [_OPEN, *rig.places("mouthLowerDown")]
_UPPER_LIP = rig.places("mouthUpperUp")
_A_BARED_TOOTH = 0.2  # the mean of these from which on teeth show below the lip
# What lips that bare their teeth without a smile have less or more of than a smile, at most.
_GRIMACE = {"mouthSmile": 0.25, "mouthFrown": 0.7, "mouthStretch": 0.4, "mouthDimple": 0.0}
_BARING = [EXPRESSIONS.index(e) for e in ("angry", "disgusted", "afraid")]
_OF_THE_MOUTH = moving(("mouth",))
_AN_OPEN_MOUTH = 0.1  # the score from which on a mouth shows its inside, if it does not smile
# Of the returns: to mouths that are open, dark and do not smile, which are one in eighty, to
# smiles, and to mouths that are closed.
_RETURNS = (0.6, 0.25, 0.15)
_TURNED = 0.35  # `head_turn` from which on a head is turned: no two photos of a person show such
Rows = npt.NDArray[np.intp]


class Shares(Protocol):
    """What of the painter's settings says which samples are drawn, and where they are lit."""

    @property
    def pairs(self) -> float: ...
    @property
    def relays(self) -> float: ...
    @property
    def returns(self) -> float: ...
    @property
    def opened(self) -> float: ...
    @property
    def bared(self) -> float: ...
    @property
    def relayed(self) -> str: ...
    @property
    def clear(self) -> float: ...
    @property
    def overshoot(self) -> float: ...
    @property
    def turned(self) -> float: ...
    @property
    def poles(self) -> float: ...
    @property
    def named(self) -> float: ...
    @property
    def others(self) -> float: ...
    @property
    def marked(self) -> float: ...
    @property
    def folds(self) -> float: ...
    @property
    def on_device(self) -> bool: ...


class _Seen(NamedTuple):
    """A face of the set, by its row, as it lies in the crop at `frame`."""

    row: int
    frame: FloatArray
    points: FloatArray
    blendshapes: FloatArray


class Samples:
    """Draws samples from the people that are not held out. Only expressions that some of them are
    labelled with are asked for by name.

    targets: what is asked for each of EXPRESSIONS, float32 [7, 52]. linear: the map from a change
    of blendshapes to landmark moves. moves, ratios: those of each of EXPRESSIONS, [7, 478, 2] and
    [7, 128, 128] (`facepaint.lab.data.ratios`). teeth: how bright they are in smiles, None where
    that is not known, and without relays, which alone take it.
    """

    def __init__(self, shares: Shares, faces: FaceSet) -> None:
        self._shares, self._faces = shares, faces
        train = ~faces.held_out & faces.is_face & np.isfinite(faces.blendshapes[:, 0])
        self._pool = np.flatnonzero(train)
        self._people = moves.people(faces, train)
        self.targets = moves.expression_targets(faces, train)
        self.linear = moves.fit(faces, self._people)
        self.moves = moves.expression_moves(faces, self._people)
        self.ratios = ratios.ratio_images(faces, self._people, self.moves)
        self.teeth = mouths.measure(faces, self._pool) if shares.relays else None
        labelled = {e: np.flatnonzero(train & (faces.expressions == e)) for e in _ALL}
        self._labelled = {e: rows for e, rows in labelled.items() if len(rows)}
        sets = sorted(set(faces.sources[train]))
        turn = np.array([abs(head_turn(faces.landmarks[i])) for i in self._pool])
        self._turned, straight = self._pool[turn > _TURNED], self._pool[turn <= _TURNED]
        smiles = _smiles(faces.blendshapes[straight])
        begin = {e: straight[~smiles if e == HAPPY else smiles] for e in self._labelled}
        relayed = {HAPPY, NEUTRAL, *_relayed(shares.relayed)}
        self._begin = {e: rows for e, rows in begin.items() if len(rows) and e in relayed}
        self._by_set = {str(s): np.flatnonzero(train & (faces.sources == s)) for s in sets}
        mouths_of_kinds = _by_mouth(faces, self._pool)
        self._return_to = list(zip(_RETURNS, mouths_of_kinds, strict=True))
        opened = mouths_of_kinds[0]
        self._opened = {s: np.intersect1d(rows, opened) for s, rows in self._by_set.items()}
        self._inside = mouths.mean_inside(faces, opened) if shares.opened else None
        self._mirror = mirrored_landmarks(), mirrored_blendshapes()

    def draw(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` samples: the pairs first, then the relays, where anyone smiles, and returns."""
        s = self._shares
        relays = s.relays if self._begin else 0
        shares = {"pair": s.pairs, "relay": relays, "return": s.returns}
        kinds = [kind for kind, share in shares.items() for _ in range(round(count * share))]
        kinds = (kinds + ["single"] * count)[:count]
        return [self._one(rng, self._barer(rng) if k == "relay" else k) for k in kinds]

    def _barer(self, rng: np.random.Generator) -> str:
        """Of relays, those that bare their teeth are of a kind of their own."""
        smiles, closed = (rows for _, rows in self._return_to[1:])
        bared = self._shares.bared
        bares = bared and len(smiles) and len(closed) and rng.random() < bared
        return "bared" if bares else "relay"

    def labelled(self, rng: np.random.Generator, count: int, some: int) -> list[dict[str, Any]]:
        """`some` real faces of known expression, each expression as often, as samples of their
        own; and so many of nobody, to be passed over, that there are `count`."""
        known = [self._real(rng) for _ in range(some)]
        nobody = {k: np.zeros_like(v) for k, v in known[0].items()} | {"label": np.int64(-1)}
        return known + [nobody] * (count - some)

    def _real(self, rng: np.random.Generator) -> dict[str, Any]:
        e = int(rng.choice(list(self._labelled)))
        i, jitter = int(rng.choice(self._labelled[e])), augment.random_frame(rng, 5, 0.06, 0.02)
        look, seen = augment.Look.draw(rng, 0.7), self._seen(i, jitter, rng.random() < 0.5)
        wide, on_device = self._faces.crops[i], self._shares.on_device
        view = augment.view("labelled", wide, seen.frame, look, on_device)
        view.pop("look", None)  # the device lights it as the rest of its row
        return view | {"labelled_blendshapes": seen.blendshapes, "label": np.int64(e)}

    def _one(self, rng: np.random.Generator, kind: str) -> dict[str, Any]:
        """One sample; with the same jitter, light and mirroring for source and partner."""
        wanted = self._wanted(rng) if kind == "relay" else None
        i, j = self._pick(rng, kind, wanted)
        f = self._faces
        jitter = augment.random_frame(rng, 5, 0.06, 0.02)
        look, flip = augment.Look.draw(rng, 0.7), rng.random() < 0.5
        source = partner = self._seen(i, jitter, flip)
        away, away_name = source.blendshapes, one_hot(-1)
        begin = source.points
        smile, after = source.blendshapes, np.zeros((CROP, CROP, 2), np.float32)
        if kind == "pair":
            still = moves.still_frame(f.landmarks[i], f.landmarks[j])
            partner = self._seen(j, align.chain(align.invert(still), jitter), flip)
            asked, points = partner.blendshapes, partner.points
            name = one_hot(f.expressions[j] if f.expressions[j] != f.expressions[i] else -1)
        elif kind == "return":
            asked, points, name = source.blendshapes, source.points, one_hot(f.expressions[i])
            away, away_name = self._away(asked)
            begin = moves.moved(points, asked, away, self.linear)
        elif kind == "bared":
            name = self._of_bared(rng)
            smile, asked = self._grimace(rng, source.blendshapes)
            smiling = moves.moved(source.points, source.blendshapes, smile, self.linear)
            points = smiling + rig.pulled(smiling, smile, asked)
            after = motion(smiling, smile, asked, CROP).flow
        else:
            asked, name = self._ask(rng, source.blendshapes, wanted)
            points = self._points(source, asked, name)
            if wanted in (HAPPY, NEUTRAL):
                points = points + self._shares.overshoot * (points - source.points)
        real, alike = self._like(rng, str(f.sources[i]), asked)
        alike &= kind != "bared"  # hardly a photo shows that
        real_jitter = augment.random_frame(rng, 5, 0.06, 0.02)
        other = self._seen(real, real_jitter, rng.random() < 0.5)
        answered = kind in ("pair", "return")
        face = face_mask(begin)
        views: dict[str, Any] = self._folds(source, points, 0 * name if answered else name)
        for view, seen in (("source", source), ("partner", partner), ("real", other)):
            wide = f.crops[seen.row]
            views |= augment.view(view, wide, seen.frame, look, self._shares.on_device)
        return (
            views
            | {
                "points": begin,
                "blendshapes": source.blendshapes,
                "asked": asked.astype(np.float32),
                "name": name,
                "asked_points": points.astype(np.float32),
                "paired": np.bool_(kind == "pair"),
                "relay": np.bool_(kind in ("relay", "bared")),
                "return": np.bool_(kind == "return"),
                "bared": np.bool_(kind == "bared"),
                "smile": smile,
                "after": after,
                "away": np.concatenate([away - source.blendshapes, away_name]).astype(np.float32),
                "away_face": face_mask(source.points) if kind == "return" else face,
                "face": face,
                "region": region(points, begin) * (1 - nose(points)),
                "nose": nose(points),
                "opening": opening(points, begin),
                "parts": region(points, points),
                "real_parts": region(other.points, other.points),
                "real_blendshapes": other.blendshapes,
                "judged": np.bool_(alike),
            }
            | self._hollow(points, asked)
        )

    def _hollow(self, points: FloatArray, asked: FloatArray) -> dict[str, Any]:
        """How much darker than skin the inside of a mouth shall be that is asked to open without a
        smile, the logarithm of the ratio, and where that is told."""
        if self._inside is None or not _opens(asked) or _bares(asked):
            return {
                "hollow": np.zeros((CROP, CROP), np.float32),
                "inside": np.zeros((CROP, CROP, 3), np.float32),
            }
        inside, where = mouths.laid_inside(self._inside, points)
        return {"hollow": where, "inside": inside}

    def _grimace(self, rng: np.random.Generator, have: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Blendshapes of the mouth of someone's smile, most of which show teeth, and of the same
        mouth without the smile, its corners sunk or drawn aside: what the rig makes of it."""
        of_smile = self._faces.blendshapes[int(rng.choice(self._return_to[1][1]))]
        smile = np.where(_OF_THE_MOUTH, of_smile, have).astype(np.float32)
        asked = smile.copy()
        for name, most in _GRIMACE.items():
            asked[rig.places(name)] = rng.uniform(0, most)
        return smile, asked

    def _of_bared(self, rng: np.random.Generator) -> FloatArray:
        """The name of an expression that bares the teeth, not whole, or none."""
        some = [e for e in _BARING if e in self._labelled]
        if not some or rng.random() < 0.4:
            return one_hot(-1)
        return one_hot(int(rng.choice(some)), rng.uniform(0.1, 0.7))

    def _away(self, have: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What a return's photo is first made, blendshapes [52] and name [7]: happy where it is
        about neutral, neutral where it smiles or opens its mouth."""
        e = NEUTRAL if _smiles(have) or _opens(have) else HAPPY
        return np.where(GAZE, have, self.targets[e]).astype(np.float32), one_hot(e)

    def _wanted(self, rng: np.random.Generator) -> int:
        """An expression to ask of a relay; neutral, which is harder, twice as often as happy."""
        poles = [e for e in (HAPPY, NEUTRAL, NEUTRAL) if e in self._begin]
        others = [e for e in self._begin if e in OTHERS]
        some = poles if not others or rng.random() < self._shares.clear else others
        return int(rng.choice(some or others))

    def _pick(self, rng: np.random.Generator, kind: str, wanted: int | None) -> tuple[int, int]:
        """A photo that a relay can begin from, or a return leads to, or any, of turned heads more
        often than there are; teeth are bared from a closed mouth. And, for a pair, one of the same
        person with another expression."""
        if kind == "return":
            shares = np.array([share * bool(len(rows)) for share, rows in self._return_to])
            rows = self._return_to[int(rng.choice(len(shares), p=shares / shares.sum()))][1]
            i = int(rng.choice(rows))
            return i, i
        if kind == "bared":
            i = int(rng.choice(self._return_to[2][1]))
            return i, i
        if kind != "pair" or not self._people:
            turned = len(self._turned) and rng.random() < self._shares.turned
            pool = self._turned if turned else self._pool
            i = int(rng.choice(pool if wanted is None else self._begin[wanted]))
            return i, i
        # larger groups more often, but far from as often as their size
        size = np.sqrt([len(p) for p in self._people])
        group = self._people[int(rng.choice(len(size), p=size / size.sum()))]
        i = int(rng.choice(group))
        kinds = self._faces.expressions[group]
        i, others = int(rng.choice(group)), group
        poles = group[(kinds == HAPPY) | (kinds == NEUTRAL)]
        if rng.random() < self._shares.poles and len(set(self._faces.expressions[poles])) > 1:
            i, others = int(rng.choice(poles)), poles
        others = others[self._faces.expressions[others] != self._faces.expressions[i]]
        return i, int(rng.choice(others))

    def _points(self, source: _Seen, asked: FloatArray, name: FloatArray) -> FloatArray:
        """Where a single's landmarks shall be: where the map says, or for a named expression whose
        blendshapes say too little, at rest and then as people's landmarks move with it."""
        have, e, strength = source.blendshapes, int(name.argmax()), float(name.max())
        far = np.sqrt(np.square(self.moves[e]).mean()) * CROP
        if e not in OTHERS or not strength or not far:
            return moves.moved(source.points, have, asked, self.linear)
        rest = np.where(GAZE, asked, have + strength * (self.targets[NEUTRAL] - have))
        rest = np.clip(rest, 0, 1).astype(np.float32)
        still = moves.moved(source.points, have, rest, self.linear)
        marked = self._shares.marked * (_OF_MUSCLES if e in moves.CLOSED else 1.0)
        moved = still + strength * marked / far * self.moves[e]
        return np.asarray(moved, np.float32)

    def _folds(self, source: _Seen, points: FloatArray, name: FloatArray) -> dict[str, Any]:
        """The shade that a single asked by name shall have at its new landmarks, and whether it is
        told: folds of what is asked come, those of the smile that it shows go."""
        e, strength = int(name.argmax()), float(name.max())
        told = strength > 0 and bool(self.ratios[HAPPY if e == NEUTRAL else e].any())
        shade = np.zeros((CROP, CROP), np.float32)
        if told:
            full = max(float(self.targets[HAPPY][SMILING].mean()), 1e-3)
            shown = min(1.0, float(source.blendshapes[SMILING].mean()) / full)
            depth = self._shares.folds if e in OTHERS else 1.0
            gain = depth * self.ratios[e] - shown * self.ratios[HAPPY]
            # seen from the side a cheek's fold would be a broad patch
            gain = gain * (1 - 0.5 * min(1.0, abs(head_turn(points))))
            limit = _DEEPEST * min(1.0, strength)
            shade = np.clip(strength * ratios.on_face(gain, points), -limit, limit)
        return {"folds": shade.astype(np.float32), "told": np.bool_(told)}

    def _like(self, rng: np.random.Generator, source: str, asked: FloatArray) -> tuple[int, bool]:
        """A real photo that shows about what is asked, of the same set: so a critic can tell it
        from a result by nothing but its truth. And whether there is such a photo: a set without an
        open mouth would have open ones look wrong."""
        some, alike = rng.choice(self._by_set[source], 24), True
        if _opens(asked):
            opened = self._opened[source]
            alike = len(opened) > 0
            if alike:  # of 24 hardly one is open
                some = np.concatenate([some, rng.choice(opened, 6)])
        apart = np.abs(self._faces.blendshapes[some] - asked)[:, ~GAZE].sum(1)
        return int(some[int(apart.argmin())]), alike

    def _seen(self, i: int, frame: FloatArray, flip: bool) -> _Seen:
        points = align.apply(align.invert(frame), self._faces.landmarks[i])
        blend = self._faces.blendshapes[i]
        if flip:
            frame, points, blend = mirror(frame, points, blend, self._mirror)
        return _Seen(i, frame, points, blend)

    def _ask(
        self, rng: np.random.Generator, have: FloatArray, wanted: int | None
    ) -> tuple[FloatArray, FloatArray]:
        """Blendshapes to ask of a single, in part or all, and the name [7] that goes with them: a
        named expression (the one that is wanted, if any), or what another shows, without a name."""
        name = self._name(rng, have) if rng.random() < self._shares.named else -1
        name = name if wanted is None else wanted
        if name >= 0 and rng.random() < 0.5:
            want = self.targets[name].copy()
        else:
            pool = self._pool if name < 0 else self._labelled[name]
            want = self._faces.blendshapes[int(rng.choice(pool))].copy()
        # a relay's answer is its teacher's, who may have another inside
        if wanted is None and rng.random() < self._shares.opened:
            want[_UPPER_LIP] = 0
            want[_OPENERS] = rng.uniform((0.15, 0, 0), (0.6, 0.4, 0.4))
            want[SMILING] = np.minimum(want[SMILING], rng.uniform(0, 0.3))
        if rng.random() < 0.8:  # mostly the gaze stays
            want[GAZE] = have[GAZE]
        whole = 0.5 if wanted is None else 0.8
        strength = 1.0 if rng.random() < whole else rng.uniform(0.2, 1.3)
        asked = np.asarray(np.clip(have + strength * (want - have), 0, 1), np.float32)
        return asked, one_hot(name, strength)

    def _name(self, rng: np.random.Generator, have: FloatArray) -> int:
        """An expression to ask for by its name."""
        poles, others = (
            [e for e in kinds if e in self._labelled] for kinds in ((HAPPY, NEUTRAL), OTHERS)
        )
        if not poles or (others and rng.random() < self._shares.others):
            return int(rng.choice(others))
        mostly = NEUTRAL if _smiles(have) else HAPPY  # what the face is not
        if mostly in poles and rng.random() < 0.9:
            return mostly
        return int(rng.choice(poles))


def _relayed(names: str) -> list[int]:
    """The places of those of the five; LabError for a name that is none of them."""
    five = {EXPRESSIONS[e]: e for e in OTHERS}
    wrong = [n for n in names.split(",") if n and n not in five]
    if wrong:
        raise LabError(f"relayed={wrong[0]!r} is none of {', '.join(five)}")
    return [e for n, e in five.items() if not names or n in names.split(",")]


def _by_mouth(faces: FaceSet, pool: Rows) -> tuple[Rows, Rows, Rows]:
    """Of those rows the mouths that are open and dark inside and do not smile, the smiles, and the
    closed mouths. Open mouths with teeth or tongue are left out: the mean of all is flesh."""
    smiling, opened = (shows(faces.blendshapes[pool]) for shows in (_smiles, _opens))
    dark = mouths.dark_inside(faces, pool[opened])
    return pool[opened][dark], pool[smiling], pool[~opened & ~smiling]


def _smiles(blendshapes: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether blendshapes [..., 52] smile."""
    return np.asarray(blendshapes[..., SMILING].mean(-1) > _A_SMILE)


def _opens(blendshapes: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether blendshapes [..., 52] open the mouth without a smile."""
    return np.asarray(~_smiles(blendshapes) & (blendshapes[..., _OPEN] > _AN_OPEN_MOUTH))


def _bares(blendshapes: FloatArray) -> bool:
    """Whether blendshapes [52] draw the upper lip back from the teeth."""
    return bool(blendshapes[_UPPER_LIP].mean() > _A_BARED_TOOTH)


def one_hot(expression: int, strength: float = 1.0) -> FloatArray:
    """The name of an expression as the painter takes it, float32 [7]; zeros for -1."""
    name = np.zeros(len(EXPRESSIONS), np.float32)
    if expression >= 0:
        name[expression] = strength
    return name
