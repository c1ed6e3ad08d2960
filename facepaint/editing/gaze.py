"""Gaze: where the irises are, and where they go when the eyes turn.

An eye is a ball behind its lids. Seen from far away, its iris lies `_BALL` from the ball's centre
in the direction in which the eye looks, so a person who looks at the viewer has it over the centre,
however the head is turned. Where the centre lies beside the eye's corners was fitted on photos of
people of whom most look at the camera; it agrees with the 3-D face model. The two eyes look in one
direction.

The reader sees little of a gaze to the side, so the irises are looked for in the photo.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import IDENTITY
from facepaint.edit import Edit
from facepaint.editing.windows import EYES, Part, filled, window_frame
from facepaint.face import FloatArray
from facepaint.face_model import Pose, pose_of
from facepaint.names import BLENDSHAPES
from facepaint.segment import smoothstep

_SIDES = ("Right", "Left")  # of the person, in the order of EYES
_BALL = 0.047  # crop units from an eyeball's centre to its iris, some 10 mm
_IRIS = 0.0279  # crop units: an iris' radius
# The right eyeball's centre beside the middle between the eye's corners, crop units of the frontal
# frame. Fitted on 988 photos of CelebAMask, where gazes that differ from most counted little.
_CENTRE = np.array([-0.0074, -0.0086, -0.0238], np.float32)
# The sine of a gaze's angle at a score of 1, over the head's own straight ahead.
_ASIDE, _UP, _DOWN = 0.66, 0.37, 0.4
# A face that looks so near to the viewer keeps its gaze, and from the second on turns wholly, in
# crop units of the iris: what is found is no more exact.
_NEAR, _FAR = 0.006, 0.010
_SHUT = 0.12  # an opening's height over its width, below which an eye shows no gaze
_SIZE = 112  # pixels a side of the window in which an iris is looked for
_STEP, _REACH = 0.001, 0.044  # crop units: places to the side at which it is looked for
_INSIDE, _GAP, _OUTSIDE = 0.95, 1.05, 1.6  # of the iris' radius: a disc, and a ring around it
_LEAST = 0.03  # of the disc's area: what of a ring must lie between the lids
# How much of a gaze to the side the reader sees, and how little a place away from there is trusted.
_READ, _UNLIKELY = 1.6, 0.5 / 0.02**2
_WORSE = 0.5  # how much the eye counts beside both that looks less like one at a place
_SEEN = 0.8  # contrast of an iris that is surely seen
_HIDDEN = 0.15  # share of an eye that a mask leaves at most of one that it hides as a whole


class Turn(NamedTuple):
    """Eyes that turn.

    Attributes:
        have, want: float32 [52], blendshapes as they are and as they are to be, with the gaze that
            the irises show and the one that they will.
        points: float32 [478, 2], landmarks with the irises where they are, crop units.
        shifts: float32 [2, 2], how far the right and the left iris go within their eyes.
    """

    have: FloatArray
    want: FloatArray
    points: FloatArray
    shifts: FloatArray

    def placed(self, moved: FloatArray) -> FloatArray:
        """Put irises where they are to be.

        Args:
            moved: float [478, 2], landmarks after all else that is asked, crop units.
        """
        out = moved.copy()
        for part, shift in zip(EYES, self.shifts, strict=True):
            if shift.any():
                ends = [part.outer[0], part.outer[8]]
                carried = (moved[ends] - self.points[ends]).mean(0)
                iris = list(part.inner)
                out[iris] = self.points[iris] + carried + shift
        return out


def turn(
    edit: Edit,
    have: FloatArray,
    want: FloatArray,
    points: FloatArray,
    pixels: npt.NDArray[np.uint8] | None = None,
    frame: FloatArray = IDENTITY,
) -> Turn:
    """Say how the eyes turn.

    Args:
        edit: what the user asks.
        have, want: float32 [52], the face's blendshapes and those that are planned; an eye turns
            where they differ in its gaze.
        points: float32 [478, 2], landmarks as read, crop units.
        pixels: the photo, uint8 [H, W, 3] RGB; None to believe the irises that were read.
        frame: float32 [2, 3], from crop units to the photo's pixels.
    """
    shifts = np.zeros((2, 2), np.float32)
    turning = [
        bool((have[_scores(side)] != want[_scores(side)]).any()) and not _is_shut(points, part)
        for part, side in zip(EYES, _SIDES, strict=True)
    ]
    want = want.copy()
    for side, turns in zip(_SIDES, turning, strict=True):
        if not turns and not _is_set(edit, side):  # a shut eye stays as it is
            want[_scores(side)] = have[_scores(side)]
    if not any(turning):
        return Turn(have, want, points, shifts)
    pose = pose_of(points)
    away = _read(points, pose) if pixels is None else _found(pixels, frame, points, pose)
    have, points = have.copy(), points.copy()
    for k, (part, side) in enumerate(zip(EYES, _SIDES, strict=True)):
        if not turning[k]:
            continue
        if pixels is not None:
            iris = list(part.inner)
            points[iris] += _middle(points, pose, k) + pose.scale * away - points[part.inner[0]]
        share = min(edit.strength, 1.0)
        if _is_set(edit, side):
            to = _by_scores(edit, side, away, pose)
        else:
            to = np.zeros(2, np.float32)
            share *= float(smoothstep(np.array(np.hypot(*away)), _NEAR, _FAR))
        then = away + np.float32(share) * (to - away)
        have[_scores(side)] = _as_scores(away, pose, side)
        want[_scores(side)] = _as_scores(then, pose, side)
        shifts[k] = pose.scale * (then - away)
    return Turn(have, want, points, shifts)


def openings(
    pixels: npt.NDArray[np.uint8],
    frame: FloatArray,
    points: FloatArray,
    asked: FloatArray,
    mask: FloatArray,
) -> FloatArray:
    """What lies between the lids of eyes that a mask hides though both irises are surely seen: what
    is before them is glass or shadow, and one eye must not turn alone. An eye that it hides in part
    has hair or a hand before it.

    Args:
        pixels: the photo, uint8 [H, W, 3] RGB.
        frame: float [2, 3], from crop units to its pixels.
        points: float [478, 2], landmarks with the irises where they are, crop units.
        asked: float [478, 2], where they are to be.
        mask: float32 [S, S] over the crop, 0 to 1, where the photo may change.

    Returns:
        float32 [S, S], 0 to 1.
    """
    out, radius = np.zeros_like(mask), _IRIS * pose_of(points).scale
    for part in EYES:
        at = points[[part.inner[0]]]
        if _contrast(pixels, frame, points, part, at, radius)[0] < _SEEN:
            return np.zeros_like(mask)
        had, wanted = (filled(p[list(part.outer)], len(mask)) for p in (points, asked))
        if (mask * had).sum() < _HIDDEN * had.sum():
            out = np.maximum(out, np.maximum(had, wanted))
    grown = cv2.dilate(out, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.GaussianBlur(grown, (0, 0), len(mask) / 128), np.float32)


def at_viewer(landmarks: FloatArray) -> FloatArray:
    """The gaze of a face that looks at the viewer.

    Args:
        landmarks: float [478, 2], in any units.

    Returns:
        float32 [52], 0 to 1, blendshapes; 0 but for those of the gaze.
    """
    out, pose = np.zeros(len(BLENDSHAPES), np.float32), pose_of(landmarks)
    for side in _SIDES:
        out[_scores(side)] = _as_scores(np.zeros(2, np.float32), pose, side)
    return out


def turned(edit: Edit) -> npt.NDArray[np.bool_]:
    """Which blendshapes `look` decides, bool [52]: the gaze of eyes of which none is set."""
    out = np.zeros(len(BLENDSHAPES), np.bool_)
    for side in _SIDES:
        out[_scores(side)] = edit.look is not None and not _is_set(edit, side)
    return out


def _is_set(edit: Edit, side: str) -> bool:
    return any(BLENDSHAPES[i] in edit.set for i in _scores(side))


def _scores(side: str) -> list[int]:
    """The blendshapes of an eye's gaze: to the nose, to the temple, up, down."""
    return [BLENDSHAPES.index(f"eyeLook{way}{side}") for way in ("In", "Out", "Up", "Down")]


def _as_scores(away: FloatArray, pose: Pose, side: str) -> FloatArray:
    """A gaze as the scores of an eye, float32 [4]; away: of its iris, float [2]."""
    right, down, _ = _direction(away, pose)
    inward = (right if side == "Right" else -right) / _ASIDE
    values = (inward, -inward, -down / _UP, down / _DOWN)
    return np.clip(np.array(values, np.float32), 0, 1)


def _by_scores(edit: Edit, side: str, away: FloatArray, pose: Pose) -> FloatArray:
    """Where an iris is whose scores are set by name; an axis of which nothing is set stays."""
    right, down, _ = _direction(away, pose)
    inward, outward, up, low = (edit.set.get(BLENDSHAPES[i]) for i in _scores(side))
    if inward is not None or outward is not None:
        right = _ASIDE * ((inward or 0) - (outward or 0)) * (1 if side == "Right" else -1)
    if up is not None or low is not None:
        down = _DOWN * (low or 0) - _UP * (up or 0)
    ahead = np.sqrt(max(0.0, 1 - right**2 - down**2))
    seen = pose.rotation @ np.array([right, down, ahead])
    return np.asarray(_BALL * seen[:2], np.float32)


def _direction(away: FloatArray, pose: Pose) -> FloatArray:
    """Where an eye looks in the head's own frame, float32 [3], a unit vector."""
    flat = away / _BALL
    flat = flat / max(1.0, float(np.hypot(*flat)))
    ahead = np.sqrt(max(0.0, 1 - float(flat @ flat)))
    return np.asarray(pose.rotation.T @ np.array([*flat, ahead]), np.float32)


def _is_shut(points: FloatArray, part: Part) -> bool:
    outline = points[list(part.outer)]
    height = np.linalg.norm(outline[3:6] - outline[[13, 12, 11]], axis=1).mean()
    return bool(height < _SHUT * np.linalg.norm(outline[8] - outline[0]))


def _middle(points: FloatArray, pose: Pose, k: int) -> FloatArray:
    """Where the iris of eye k lies when it looks at the viewer, float32 [2]."""
    ends = [EYES[k].outer[0], EYES[k].outer[8]]
    centre = _CENTRE * (1 if k == 0 else -1, 1, 1)
    return np.asarray(points[ends].mean(0) + pose.lifted(centre[None])[0], np.float32)


def _read(points: FloatArray, pose: Pose) -> FloatArray:
    """How far irises as read are from where they look at the viewer, the mean of both eyes,
    float32 [2], crop units of the face."""
    irises = [points[part.inner[0]] - _middle(points, pose, k) for k, part in enumerate(EYES)]
    return np.asarray(np.mean(irises, 0) / pose.scale, np.float32)


def _found(
    pixels: npt.NDArray[np.uint8], frame: FloatArray, points: FloatArray, pose: Pose
) -> FloatArray:
    """As `_read`, but as the photo shows it.

    The height is the reader's. To the side both irises are looked for at once: dark discs in
    brighter rings, as far as they lie between the lids, near to where the reader thinks they are.
    """
    angle = np.radians(pose.roll)
    to_side = np.array([np.cos(angle), np.sin(angle)], np.float32)
    down = np.array([-to_side[1], to_side[0]], np.float32)
    read = _read(points, pose)
    x, y = float(read @ to_side), float(read @ down)
    places = np.arange(-_REACH, _REACH + _STEP / 2, _STEP, dtype=np.float32)
    tried = places[:, None] * to_side + np.float32(y) * down
    likely = []
    for k, part in enumerate(EYES):
        at = np.asarray(_middle(points, pose, k) + pose.scale * tried, np.float32)
        likely.append(_contrast(pixels, frame, points, part, at, _IRIS * pose.scale))
    score = np.mean(likely, 0) + _WORSE * np.min(likely, 0)
    score = score - _UNLIKELY * (places - _READ * x) ** 2
    return np.asarray(tried[int(score.argmax())], np.float32)


def _contrast(
    pixels: npt.NDArray[np.uint8],
    frame: FloatArray,
    points: FloatArray,
    part: Part,
    at: FloatArray,
    radius: float,
) -> FloatArray:
    """How far a photo looks like an iris at each of some places, float32 [N].

    Args:
        pixels: the photo, uint8 [H, W, 3] RGB.
        frame: float [2, 3], from crop units to its pixels.
        points: float [478, 2], landmarks, crop units.
        part: which eye.
        at: float32 [N, 2], the places, crop units.
        radius: of the iris, crop units.
    """
    window = window_frame(points, part)
    to_window, unit = align.invert(window), float(_SIZE / window[0, 0])
    # in red light irises are dark, and skin and the white of the eye are bright
    red = align.crop(pixels, align.chain(frame, window), _SIZE)[..., 0].astype(np.float32)
    red = np.asarray(cv2.GaussianBlur(red, (0, 0), 1.0), np.float32)
    opening = filled(align.apply(to_window, points[list(part.outer)]), _SIZE)
    disc = _disc(radius * unit * _INSIDE)
    ring = _disc(radius * unit * _OUTSIDE)
    hole = _disc(radius * unit * _GAP)
    edge = (len(ring) - len(hole)) // 2
    ring[edge : len(ring) - edge, edge : len(ring) - edge] -= hole
    shown, around = (np.maximum(_sums(opening, kernel), 0) for kernel in (disc, ring))
    inside = _sums(opening * red, disc) / np.maximum(shown, 1)
    outside = _sums(opening * red, ring) / np.maximum(around, 1)
    spread = float(red[opening > 0.5].std()) + 3 if (opening > 0.5).any() else 3.0
    enough = around > _LEAST * disc.sum()
    score = np.where(enough, (outside - inside) / spread, 0) * np.sqrt(shown / disc.sum())
    x, y = cv2.split(align.apply(to_window, at)[None] * np.float32(_SIZE) - np.float32(0.5))
    seen = cv2.remap(score.astype(np.float32), x, y, cv2.INTER_LINEAR)
    return np.asarray(seen[0], np.float32)


def _sums(picture: FloatArray, kernel: FloatArray) -> FloatArray:
    """The sum of a picture under a kernel around each pixel; nothing lies beyond its edge."""
    found = cv2.filter2D(picture, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(found, np.float32)


def _disc(radius: float) -> FloatArray:
    """1 within a radius in pixels around the middle and 0 outside, float32 [n, n], n odd."""
    reach = int(np.ceil(radius + 1))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.clip(radius - np.hypot(x, y) + 0.5, 0, 1), np.float32)
