"""Editing: what an edit asks, where landmarks go, and how the photo follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

import facepaint
from facepaint import BLENDSHAPES, EXPRESSIONS, Box, Edit, EditError, Face, align
from facepaint.editing.flow import _TOLD, flow_between
from facepaint.editing.hints import hint
from facepaint.editing.method import MoveAndRepaint, _kept_at
from facepaint.editing.mover import Mover
from facepaint.editing.plan import plan
from facepaint.editing.thin_plate import thin_plate
from facepaint.editing.windows import (
    EYES,
    MIRROR,
    MOUTH,
    in_window,
    outlines,
    window_frame,
)
from facepaint.face import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FloatArray
from facepaint.face_model import mean_3d, moves_3d
from facepaint.mesh import mean_face, mirrored_landmarks
from facepaint.models import WEIGHTS, open_model

FACE = mean_face()
NOTHING = np.zeros(52, np.float32)
NO_NAME = np.zeros(7, np.float32)
CHIN, UPPER_LIP, LOWER_LIP = 152, 13, 14
GAZE = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])


def asked(**scores: float) -> FloatArray:
    """Blendshapes by name or by a pair's short name, zeros else."""
    out = NOTHING.copy()
    for name, score in Edit(set=scores).set.items():
        out[BLENDSHAPES.index(name)] = score
    return out


def face_with(blendshapes: FloatArray, landmarks: FloatArray = FACE * 200 + 40) -> Face:
    box = Box(40, 40, 200, 200, 0.9)
    return Face(0, box, landmarks.astype(np.float32), blendshapes, 1.0, np.eye(7)[0])


# --- thin plates


def test_a_thin_plate_passes_through_its_values() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 1, (20, 2)).astype(np.float32)
    values = rng.normal(0, 1, (20, 3)).astype(np.float32)
    assert thin_plate(points, values, points) == pytest.approx(values, abs=1e-3)
    smooth = thin_plate(points, values, points, smoothing=10)
    assert np.abs(smooth - values).mean() > 0.1


def test_a_thin_plate_is_the_same_however_many_threads_solve_it() -> None:
    script = (
        "import numpy as np; from facepaint.editing.thin_plate import thin_plate;"
        "rng = np.random.default_rng(0); p, v = rng.uniform(0, 1, (2, 300, 2));"
        "print(thin_plate(p, v, p, 1e-5).tobytes().hex())"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n},
            capture_output=True,
            check=True,
        ).stdout
        for n in ("1", "2", "4")
    }
    assert len(results) == 1


def test_a_thin_plate_through_an_affine_map_is_that_map_everywhere() -> None:
    rng = np.random.default_rng(1)
    points, where = (rng.uniform(0, 1, (n, 2)).astype(np.float32) for n in (12, 30))
    linear, shift = np.array([[0.2, -1.0], [0.5, 0.3]], np.float32), np.float32([0.1, -0.4])
    for smoothing in (0.0, 1e-2):
        made = thin_plate(points, points @ linear + shift, where * 2, smoothing)
        assert made == pytest.approx(where * 2 @ linear + shift, abs=1e-3)


# --- flow


def test_no_move_is_no_flow() -> None:
    assert not flow_between(FACE, FACE, 64).any()


def test_landmarks_go_where_they_are_asked() -> None:
    """What the flow shows at the asked place lay at the old one."""
    wanted = FACE.copy()
    wanted += (moves_3d()[BLENDSHAPES.index("mouthSmileLeft"), :, :2]) * 0.8
    size = 256
    flow = flow_between(FACE, wanted, size)
    moved = [i for i in _TOLD if np.linalg.norm(wanted[i] - FACE[i]) > 0.01]
    assert len(moved) > 5
    for i in moved:
        x, y = (wanted[i] * size - 0.5).round().astype(int)
        came_from = wanted[i] + flow[y, x]
        assert np.linalg.norm(came_from - FACE[i]) < 0.25 * np.linalg.norm(wanted[i] - FACE[i])
    assert np.abs(flow[[0, -1]]).max() < 0.004 and np.abs(flow[:, [0, -1]]).max() < 0.004


# --- windows and hints


@pytest.mark.parametrize("part", [MOUTH, *EYES])
def test_a_window_holds_its_part_and_its_mask_does_too(
    part: facepaint.editing.windows.Part,
) -> None:
    frame = window_frame(FACE, part)
    points = in_window(FACE, frame)
    both = points[[*part.outer, *part.inner]]
    assert (both > 0.05).all() and (both < 0.95).all()
    assert np.allclose(align.apply(frame, points), FACE, atol=1e-5)
    told = outlines(points, part)
    assert (told.mask[told.outer > 0.5] > 0.95).all(), "the outline is repainted whole"
    assert told.mask.mean() < 0.6
    for edge in (told.mask[0], told.mask[-1], told.mask[:, 0], told.mask[:, -1]):
        assert not edge.any()
    area = told.outer.sum() / told.outer.size
    inside = points[list(part.outer)]
    assert area == pytest.approx(cv2.contourArea(inside), rel=0.06)  # and its soft edge


def test_an_iris_shows_only_between_the_lids() -> None:
    points = FACE.copy()
    shut = points[list(LEFT_EYE)].mean(0)[1]
    points[list(LEFT_EYE), 1] = shut + 0.2 * (points[list(LEFT_EYE), 1] - shut)
    wide, narrow = (
        outlines(in_window(p, window_frame(p, EYES[1])), EYES[1]).inner for p in (FACE, points)
    )
    assert narrow.sum() < 0.5 * wide.sum()


def test_one_eye_mirrored_is_the_other() -> None:
    """As the network sees them: one network for both."""
    order = mirrored_landmarks()
    symmetric = np.asarray((FACE + align.apply(MIRROR, FACE[order])) / 2, np.float32)
    right, left = (outlines(in_window(symmetric, window_frame(symmetric, e)), e) for e in EYES)
    assert np.abs(left.outer[:, ::-1] - right.outer).mean() < 0.01
    assert np.abs(left.mask[:, ::-1] - right.mask).mean() < 0.01


def picture(size: int = 192) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)


@pytest.mark.parametrize("part", [MOUTH, *EYES])
def test_the_hint_of_an_unmoved_face_is_the_photo(part: facepaint.editing.windows.Part) -> None:
    pixels = picture()
    frame = np.array([[192, 0, 0], [0, 192, 0]], np.float32)
    window = window_frame(FACE, part)
    given = hint(pixels, frame, FACE, FACE, part, window, 96)
    seen = align.crop(pixels, align.chain(frame, window), 96)
    assert np.abs(given.stretch).max() < 1e-3
    inside = given.known > 0.99  # of an iris what the lids hide is not known
    assert inside.mean() > 0.9
    assert np.abs(given.picture * 255 - seen)[inside].mean() < 3


def test_where_a_mouth_is_torn_open_nothing_is_known() -> None:
    opened = FACE.copy()
    for i in (*INNER_LIPS[11:], *OUTER_LIPS[11:], 17, 18, 200, 199, CHIN):
        opened[i, 1] += 0.08
    frame = np.array([[192, 0, 0], [0, 192, 0]], np.float32)
    window = window_frame(opened, MOUTH)
    given = hint(picture(), frame, FACE, opened, MOUTH, window, 96)
    lips = in_window(opened, window)
    x, y = (lips[[UPPER_LIP, LOWER_LIP]].mean(0) * 96).astype(int)
    assert given.known[y, x] == 0 and not given.picture[y, x].any()
    assert given.known[2:6].min() > 0.9, "above the lips it is known"


def test_teeth_stay_where_they_are_while_lips_move() -> None:
    parted, wide = FACE.copy(), FACE.copy()
    for points, far in ((parted, 0.05), (wide, 0.09)):
        for i in (*INNER_LIPS[11:], *OUTER_LIPS[11:], 17, 18, 200, 199, CHIN):
            points[i, 1] += far
    frame = np.array([[192, 0, 0], [0, 192, 0]], np.float32)
    window = window_frame(wide, MOUTH)
    given = hint(picture(), frame, parted, wide, MOUTH, window, 96)
    seen = align.crop(picture(), align.chain(frame, window), 96)
    x, y = (in_window(parted, window)[[UPPER_LIP, LOWER_LIP]].mean(0) * 96).astype(int)
    assert given.known[y, x] > 0.99
    assert np.abs(given.picture[y, x] * 255 - seen[y, x]).max() < 4
    low = int(in_window(wide, window)[LOWER_LIP, 1] * 96) - 3
    assert given.known[low, x] == 0, "what the lower lip hid is not known"


# --- plan

TARGETS = dict.fromkeys(EXPRESSIONS, NOTHING) | {
    "happy": asked(mouthSmile=0.8, cheekSquint=0.4),
    "angry": asked(browDown=0.7, mouthSmile=0.1),
    "surprised": asked(jawOpen=0.5, browInnerUp=0.6, browOuterUp=0.5),
}


def test_nothing_is_asked_of_a_face_that_shows_it_already() -> None:
    for to in ("happy", "surprised"):
        assert plan(Edit(to), face_with(TARGETS[to]), TARGETS).asks_nothing
    neutral = face_with(asked(browDown=0.03))
    assert plan(Edit("neutral"), neutral, TARGETS).asks_nothing
    wider = face_with(asked(mouthSmile=1.0, cheekSquint=0.5))
    assert plan(Edit("happy"), wider, TARGETS).asks_nothing
    assert not plan(Edit("happy"), neutral, TARGETS).asks_nothing


def test_a_plan_grows_with_strength() -> None:
    face = face_with(asked(mouthSmile=0.1, eyeLookUp=0.4))
    whole = plan(Edit("happy"), face, TARGETS)
    assert np.array_equal(whole.have, face.blendshapes)
    half = plan(Edit("happy", 0.5), face, TARGETS)
    assert half.want - half.have == pytest.approx(0.5 * (whole.want - whole.have))
    assert half.name == pytest.approx(0.5 * whole.name) and whole.name.argmax() == 1
    more = plan(Edit("happy", 1.5), face, TARGETS)
    assert more.want.max() <= 1 and (more.want >= whole.want - 1e-6).all()
    assert plan(Edit("happy", 0.0), face, TARGETS).asks_nothing
    smile = BLENDSHAPES.index("mouthSmileLeft")
    assert whole.want[smile] == pytest.approx(0.8)
    assert np.array_equal(whole.want[GAZE], face.blendshapes[GAZE]), "the gaze stays"


def test_what_belongs_to_an_expression_is_not_lowered_and_all_else_is() -> None:
    face = face_with(asked(browDownLeft=0.9, mouthSmile=0.6, jawOpen=0.3))
    wanted = plan(Edit("angry"), face, TARGETS).want
    assert wanted[BLENDSHAPES.index("browDownRight")] > 0.1
    assert wanted[BLENDSHAPES.index("browDownLeft")] == pytest.approx(0.9)
    assert wanted[BLENDSHAPES.index("jawOpen")] < 0.3
    assert wanted[BLENDSHAPES.index("mouthSmileLeft")] < 0.6, "a smile is happy's"


def test_neutral_takes_away_all_but_the_gaze() -> None:
    face = face_with(asked(mouthSmile=0.9, jawOpen=0.4, eyeLookDown=0.5))
    found = plan(Edit("neutral"), face, TARGETS)
    assert not found.want[~GAZE].any()
    assert np.array_equal(found.want[GAZE], face.blendshapes[GAZE])
    assert found.name[0] == 1


def test_regions_hold_the_plan_and_take_its_name() -> None:
    face = face_with(asked(mouthSmile=0.4))
    found = plan(Edit("surprised", regions=("brows",)), face, TARGETS)
    changed = {BLENDSHAPES[i] for i in np.flatnonzero(found.want != found.have)}
    assert changed and all(n.startswith("brow") for n in changed)
    assert not found.name.any()
    assert plan(Edit("happy", regions=("brows",)), face_with(NOTHING), TARGETS).asks_nothing


def test_set_is_exact_and_like_copies_all_but_the_gaze() -> None:
    face, other = face_with(asked(jawOpen=0.2)), face_with(asked(mouthFrown=0.6, eyeLookUp=1.0))
    found = plan(Edit(set={"jawOpen": 0.7, "eyeLookUp": 0.5}), face, TARGETS)
    assert found.want == pytest.approx(asked(jawOpen=0.7, eyeLookUp=0.5))
    assert not found.name.any()
    copied = plan(Edit(like=other, set={"browDown": 0.3}), face, TARGETS)
    assert copied.want == pytest.approx(asked(mouthFrown=0.6, browDown=0.3))
    mixed = plan(Edit("happy", set={"mouthSmile": 0.2}), face, TARGETS)
    assert mixed.want[BLENDSHAPES.index("mouthSmileLeft")] == pytest.approx(0.2)


# --- mover


@pytest.fixture(scope="module")
def mover() -> Mover:
    return Mover(open_model("mover", WEIGHTS))


def gap_of(points: FloatArray) -> float:
    return float(points[LOWER_LIP, 1] - points[UPPER_LIP, 1])


def opening_of(points: FloatArray, eye: tuple[int, ...]) -> float:
    return float(points[list(eye[:8:-1]), 1].mean() - points[list(eye[1:8]), 1].mean())


def test_what_is_asked_nothing_of_stays(mover: Mover) -> None:
    for have in (NOTHING, asked(jawOpen=0.5, mouthSmile=0.3)):
        apart = FACE.copy()
        apart[[*INNER_LIPS[11:], LOWER_LIP], 1] += 0.02  # lips that do not cross
        assert mover(apart, have, have, NO_NAME) == pytest.approx(apart, abs=1e-4)


def test_a_jaw_lowers_the_chin_and_the_lower_lip(mover: Mover) -> None:
    moved = mover(FACE, NOTHING, asked(jawOpen=0.8), NO_NAME)
    assert moved[CHIN, 1] - FACE[CHIN, 1] > 0.02
    assert gap_of(moved) > gap_of(FACE) + 0.03
    assert abs(moved[UPPER_LIP, 1] - FACE[UPPER_LIP, 1]) < 0.02


@pytest.mark.parametrize("wide", [0.02, 0.06, 0.1])
def test_lips_meet_for_neutral_however_wide_they_were(mover: Mover, wide: float) -> None:
    have = asked(jawOpen=0.7, mouthLowerDown=0.3)
    opened = mover(FACE, NOTHING, have, NO_NAME)
    low = [*INNER_LIPS[11:], *OUTER_LIPS[11:], CHIN, 17, 18, 200]
    opened[low, 1] += wide - gap_of(opened)
    assert gap_of(opened) == pytest.approx(wide, abs=1e-5)
    closed = mover(opened, have, NOTHING, NO_NAME)
    assert abs(gap_of(closed)) < 0.25 * wide


def test_a_blink_closes_the_lids_and_a_wink_those_of_one_eye(mover: Mover) -> None:
    shut = mover(FACE, NOTHING, asked(eyeBlink=1.0), NO_NAME)
    for eye in (LEFT_EYE, RIGHT_EYE):
        assert opening_of(shut, eye) < 0.4 * opening_of(FACE, eye)
    wink = mover(FACE, NOTHING, asked(eyeBlinkLeft=1.0), NO_NAME)
    assert opening_of(wink, LEFT_EYE) == pytest.approx(opening_of(shut, LEFT_EYE), abs=2e-3)
    still = np.linalg.norm(wink[list(RIGHT_EYE)] - FACE[list(RIGHT_EYE)], axis=1)
    assert still.max() < 1e-3


def test_the_skin_above_a_lid_comes_down_with_it(mover: Mover) -> None:
    """Else what a closing eye leaves behind would show above its lid."""
    shut = mover(FACE, NOTHING, asked(eyeBlink=1), NO_NAME)
    lid, near, far = (shut[i, 1] - FACE[i, 1] for i in (159, 27, 223))
    assert lid > 0.01 and 0.6 * lid < near < lid and 0.3 * lid < far < near


def test_a_squint_is_of_both_lids_and_a_blink_of_the_upper(mover: Mover) -> None:
    for muscle, low, high in (("eyeBlink", 0.05, 0.35), ("eyeSquint", 0.4, 0.6)):
        after = mover(FACE, NOTHING, asked(**{muscle: 0.8}), NO_NAME)
        corner = (after[[33, 133], 1] - FACE[[33, 133], 1]).mean()
        upper, lower = (after[i, 1] - FACE[i, 1] - corner for i in (159, 145))
        assert upper > 0 > lower
        assert low < -lower / (upper - lower) < high


def test_a_wide_eye_is_wider(mover: Mover) -> None:
    wide = mover(FACE, NOTHING, asked(eyeWide=1.0), NO_NAME)
    assert opening_of(wide, LEFT_EYE) > opening_of(FACE, LEFT_EYE)


@pytest.mark.parametrize(
    "muscle", ["jawOpen", "mouthSmile", "browInnerUp", "eyeBlink", "mouthFrown"]
)
def test_more_of_a_muscle_moves_farther(mover: Mover, muscle: str) -> None:
    sizes = [
        float(np.linalg.norm(mover(FACE, NOTHING, asked(**{muscle: s}), NO_NAME) - FACE))
        for s in (0.25, 0.5, 0.75, 1.0)
    ]
    assert sizes[0] > 0.01 and (np.diff(sizes) > 0).all()


def test_moves_turn_with_the_head(mover: Mover) -> None:
    """Tilted by 20 degrees, the chin goes down along the face."""
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    tilted = ((FACE - 0.5) @ turn + 0.5).astype(np.float32)
    upright, turned = (mover(p, NOTHING, asked(jawOpen=0.6), NO_NAME) - p for p in (FACE, tilted))
    assert turned == pytest.approx(upright @ turn, abs=2e-3)


def test_both_sides_move_alike(mover: Mover) -> None:
    order = mirrored_landmarks()
    symmetric = np.asarray((FACE + align.apply(MIRROR, FACE[order])) / 2, np.float32)
    moved = mover(symmetric, NOTHING, TARGETS["happy"], NO_NAME)
    assert align.apply(MIRROR, moved[order]) == pytest.approx(moved, abs=2e-3)


# --- the method


@pytest.fixture(scope="module")
def method() -> MoveAndRepaint:
    return MoveAndRepaint(WEIGHTS)


def test_heads_in_profile_are_left_alone(method: MoveAndRepaint, portrait: np.ndarray) -> None:
    assert [_kept_at(v) for v in (0, 45, 65, 90)] == [1, 1, 0, 0]
    assert 0 < _kept_at(50) < 1
    for yaw, alone in ((0, False), (80, True), (-80, True)):
        cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        seen = (mean_3d() @ turn.T)[:, :2] * 100 + 70
        after = portrait.copy()
        face = face_with(asked(mouthSmile=0.9), seen)
        assert method.paint(after, face, Edit("neutral")) is not alone, yaw
        assert np.array_equal(after, portrait) is alone


def test_what_is_asked_is_what_is_wanted(method: MoveAndRepaint) -> None:
    face = face_with(asked(mouthSmile=0.9))
    change = method.change(face, Edit("neutral"))
    assert change is not None
    assert np.array_equal(change.want, method.wanted(face, Edit("neutral")))
    assert np.linalg.norm(change.asked - change.points) > 0.05
    assert method.change(face, Edit("neutral", 0.0)) is None
    half = method.change(face, Edit("neutral", 0.5))
    assert half is not None
    sizes = [np.linalg.norm(c.asked - c.points) for c in (half, change)]
    assert 0 < sizes[0] < sizes[1]
    few = replace(face, blendshapes=NOTHING)
    with pytest.raises(EditError, match="unknown expression"):
        method.wanted(few, Edit("glad"))


@pytest.mark.parametrize("to", ["neutral", "surprised", "angry"])
def test_outside_the_face_not_a_bit_changes(
    method: MoveAndRepaint, portrait: np.ndarray, to: str
) -> None:
    """Before and after the edit, as large as its mask."""
    from facepaint.segment import visible_face

    painter = facepaint.load()
    (face,) = painter.faces(portrait)
    after = portrait.copy()
    assert method.paint(after, face, Edit(to))
    change, frame = method.change(face, Edit(to)), align.align(face.landmarks)
    assert change is not None
    mask = visible_face(face, frame, 128, change.asked)
    matrix = align.centred(frame, 128)
    kernel = np.ones((7, 7), np.uint8)  # pixels that cubic sampling reaches
    large = cv2.warpAffine(cv2.dilate(mask, kernel), matrix, portrait.shape[1::-1])
    outside = large == 0
    assert outside.mean() > 0.2
    assert np.array_equal(after[outside], portrait[outside])
    assert (after != portrait).any(-1).mean() > 0.02
