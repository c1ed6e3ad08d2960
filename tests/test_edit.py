"""Edit: what may be asked, and the change of blendshapes that it means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facepaint import BLENDSHAPES, EXPRESSIONS, Box, Edit, EditError, Face, rig
from facepaint.change import _PROTOTYPES, change, choose, parts
from facepaint.edit import parse_face
from facepaint.mesh import mean_face

RNG = np.random.default_rng(0)
TARGETS = {e: RNG.uniform(0, 1, 52).astype(np.float32) for e in EXPRESSIONS}


def a_face(index: int = 0, seed: int = 1) -> Face:
    rng = np.random.default_rng(seed)
    return Face(
        index=index,
        box=Box(0, 0, 10, 10, 0.9),
        landmarks=rng.uniform(0, 100, (478, 2)).astype(np.float32),
        blendshapes=rng.uniform(0, 1, 52).astype(np.float32),
        confidence=1.0,
        probabilities=np.eye(7, dtype=np.float32)[2],
    )


@pytest.mark.parametrize("to", EXPRESSIONS)
def test_full_strength_reaches_the_target_but_for_the_gaze(to: str) -> None:
    face = a_face()
    reached = face.blendshapes + change(Edit(to), face, TARGETS)
    gaze = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])
    raised = TARGETS[to] - TARGETS["neutral"]
    most = np.max([TARGETS[e] - TARGETS["neutral"] for e in EXPRESSIONS], 0)
    own = (raised > max(raised.max() / 2, 0.05)) & (raised > most / 2)
    kept = own & (face.blendshapes > TARGETS[to])
    far = 1.05 if to == "happy" else 1.0
    wanted = np.clip(face.blendshapes + far * (TARGETS[to] - face.blendshapes), 0, 1)
    for name, score in _PROTOTYPES.get(to, {}).items():
        for i in rig.places(name):
            wanted[i] = max(wanted[i], score) if score else 0
            if kept[i] and score > face.blendshapes[i]:
                assert reached[i] == pytest.approx(score)
            gaze[i] |= kept[i]  # looked at here
    assert np.allclose(reached[~gaze & ~kept], wanted[~gaze & ~kept], atol=1e-6)
    still = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])
    assert np.array_equal(reached[still], face.blendshapes[still])
    assert (to == "neutral") == (not kept.any())


def test_a_trace_of_a_smile_in_an_expression_keeps_none() -> None:
    smile, brow = BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("browDownLeft")
    targets = {e: np.zeros(52, np.float32) for e in EXPRESSIONS}
    targets["angry"][[smile, brow]] = 0.15, 0.6
    face = replace(a_face(), blendshapes=np.full(52, 0.9, np.float32))
    asked = change(Edit("angry"), face, targets)
    assert asked[smile] == pytest.approx(-0.9), "its prototype has none at all"
    assert asked[brow] == pytest.approx(0.1), "and of lowered brows all that there is"
    targets["surprised"] = targets["angry"].copy()  # which has no prototype
    targets["angry"] = np.zeros(52, np.float32)
    asked = change(Edit("surprised"), face, targets)
    assert asked[smile] == pytest.approx(0.15 - 0.9) and asked[brow] == 0
    # nor where all that it raises is little: what another raises far more is that one's
    targets["surprised"][[smile, brow]], targets["happy"][smile] = (0.15, 0.2), 0.8
    asked = change(Edit("surprised"), face, targets)
    assert asked[smile] == pytest.approx(0.15 - 0.9) and asked[brow] == 0
    assert change(Edit("happy"), face, targets)[smile] == 0


def test_change_is_linear_in_strength_and_zero_at_zero() -> None:
    face = a_face()
    whole = change(Edit("happy"), face, TARGETS)
    assert not change(Edit("happy", 0.0), face, TARGETS).any()
    assert np.allclose(change(Edit("happy", 0.3), face, TARGETS), 0.3 * whole, atol=1e-6)


@pytest.mark.parametrize("strength", [-0.01, 1.51, float("nan"), float("inf")])
def test_strength_outside_its_range_is_refused(strength: float) -> None:
    with pytest.raises(EditError, match=r"outside 0 to 1\.5"):
        Edit("happy", strength)


def test_more_than_all_exaggerates_but_stays_a_blendshape() -> None:
    face = a_face()
    one, more = (face.blendshapes + change(Edit("happy", s), face, TARGETS) for s in (1.0, 1.5))
    assert more.min() >= -1e-6 and more.max() <= 1 + 1e-6
    rises = one > face.blendshapes + 1e-3
    assert (more[rises] >= one[rises]).all() and (more[rises] > one[rises]).any()


def test_single_muscles_are_set_and_the_rest_stays() -> None:
    face = a_face()
    reached = face.blendshapes + change(Edit(set={"jawOpen": 0.4}), face, TARGETS)
    jaw = BLENDSHAPES.index("jawOpen")
    assert reached[jaw] == pytest.approx(0.4)
    assert np.array_equal(np.delete(reached, jaw), np.delete(face.blendshapes, jaw))


def test_a_pair_is_both_of_its_muscles_and_wins_over_the_expression() -> None:
    face = a_face()
    edit = Edit("happy", set={"mouthSmile": 0.2, "eyeLookUp": 0.9})
    assert set(edit.set) == {
        *("mouthSmileLeft", "mouthSmileRight"),
        *("eyeLookUpLeft", "eyeLookUpRight"),
    }
    reached = face.blendshapes + change(edit, face, TARGETS)
    for name, value in edit.set.items():
        assert reached[BLENDSHAPES.index(name)] == pytest.approx(value, abs=1e-6)
    other = BLENDSHAPES.index("jawForward")
    whole = face.blendshapes + change(Edit("happy"), face, TARGETS)
    assert reached[other] == whole[other]


def test_network_and_rig_share_a_change() -> None:
    """What the network makes, and then the rig, is the whole; a muscle alone is the rig's."""
    face = replace(a_face(), blendshapes=np.full(52, 0.2, np.float32))
    for edit in (Edit("sad"), Edit("happy", 0.6, set={"noseSneer": 0.7}), Edit(set={"jawLeft": 1})):
        have, by_network, by_rig = parts(edit, face, TARGETS)
        assert np.array_equal(have, face.blendshapes)
        assert np.allclose(by_rig - have, change(edit, face, TARGETS))
    have, by_network, by_rig = parts(Edit(set={"noseSneerLeft": 0.7}), face, TARGETS)
    assert np.array_equal(by_network, have) and (by_rig != have).sum() == 1
    # a muscle that is let go belongs to what the photo shows, which the network knows
    have, by_network, by_rig = parts(Edit(set={"browDown": 0.0}), face, TARGETS)
    assert np.array_equal(by_network, by_rig) and (by_rig != have).sum() == 2


@pytest.mark.parametrize(
    ("left", "right", "network"),
    [(0.8, 0.8, 0.8), (0.8, 0.5, 0.5), (0.8, None, 0.2), (0.0, 0.8, None), (0.0, 0.0, 0.0)],
)
def test_of_a_smile_the_network_makes_what_both_sides_share(
    left: float, right: float | None, network: float | None
) -> None:
    face = replace(a_face(), blendshapes=np.full(52, 0.2, np.float32))
    asked = {"mouthSmileLeft": left} | ({} if right is None else {"mouthSmileRight": right})
    have, by_network, by_rig = parts(Edit(set=asked), face, TARGETS)
    sides = rig.places("mouthSmile")
    assert by_rig[sides] == pytest.approx([left, 0.2 if right is None else right])
    if network is not None:
        assert by_network[sides] == pytest.approx([network] * 2)
    assert (by_network[sides] <= np.maximum(by_rig[sides], have[sides]) + 1e-6).all()


@pytest.mark.parametrize("name", ["jawOpen", "mouthUpperUp", "mouthLowerDown"])
def test_lips_that_part_are_the_networks_since_a_rig_has_no_teeth(name: str) -> None:
    face = replace(a_face(), blendshapes=np.full(52, 0.2, np.float32))
    have, by_network, by_rig = parts(Edit(set={name: 0.7}), face, TARGETS)
    assert np.array_equal(by_network, by_rig)
    assert np.flatnonzero(by_rig != have).tolist() == rig.places(name)
    one = next(iter(Edit(set={name: 0.7}).set))
    if one != name:  # of one side alone the network knows nothing
        _, by_network, by_rig = parts(Edit(set={one: 0.7}), face, TARGETS)
        assert np.array_equal(by_network, have) and (by_rig != have).sum() == 1


def test_a_prototypes_open_mouth_is_the_networks_too() -> None:
    face = replace(a_face(), blendshapes=np.full(52, 0.1, np.float32))
    have, by_network, by_rig = parts(Edit("afraid"), face, TARGETS)
    jaw, brow = rig.places("jawOpen"), rig.places("browInnerUp")
    assert (by_network[jaw] == by_rig[jaw]).all() and (by_network[jaw] > have[jaw]).all()
    assert (by_network[brow] < by_rig[brow]).all()


def test_regions_hold_prototypes_too() -> None:
    face = a_face()
    _, by_network, by_rig = parts(Edit("angry", regions=("mouth",)), face, TARGETS)
    brow = rig.places("browDown")
    assert np.array_equal(by_rig[brow], face.blendshapes[brow])
    assert np.array_equal(by_network[brow], face.blendshapes[brow])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "nothing is asked"),
        ({"set": {"mouthSmlie": 1}}, "did you mean mouthSmile"),
        ({"set": {"_neutral": 1}}, "unknown blendshape '_neutral'"),
        ({"set": {"jawOpen": 1.2}}, "jawOpen=1.2 is outside 0 to 1"),
        ({"set": {"jawOpen": float("nan")}}, "outside 0 to 1"),
        (
            {"set": {"mouthSmile": 0.4, "mouthSmileLeft": 0.1}},
            "mouthSmileLeft is set twice, by itself and by mouthSmile",
        ),
        ({"to": "happy", "regions": ("mout",)}, "did you mean mouth"),
        ({"to": "happy", "like": a_face()}, "contradict"),
        ({"look": "up"}, "unknown look 'up'; there are camera"),
        ({"to": "happy", "look": "camrea"}, "did you mean camera"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(EditError, match=said) as error:
        Edit(**asked)
    assert "\n" not in str(error.value)


def test_another_face_is_copied_but_for_its_gaze() -> None:
    face, other = a_face(seed=1), a_face(seed=2)
    reached = face.blendshapes + change(Edit(like=other), face, TARGETS)
    gaze = np.array([n.startswith("eyeLook") for n in BLENDSHAPES])
    assert np.allclose(reached[~gaze], other.blendshapes[~gaze], atol=1e-6)
    assert np.array_equal(reached[gaze], face.blendshapes[gaze])


def test_a_region_moves_only_its_own_muscles() -> None:
    face = a_face()
    moved = change(Edit("surprised", regions=("brows",)), face, TARGETS)
    assert {n for n, m in zip(BLENDSHAPES, moved, strict=True) if m} <= {
        n for n in BLENDSHAPES if n.startswith("brow")
    }
    assert moved.any()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", (0, None, None)),
        ("2:happy", (2, "happy", None)),
        ("1@0.5", (1, None, 0.5)),
        ("3:sad@.25", (3, "sad", 0.25)),
    ],
)
def test_faces_as_a_command_line_names_them(text: str, wanted: tuple[object, ...]) -> None:
    assert parse_face(text) == wanted


@pytest.mark.parametrize("text", ["", "happy", "0:", "0:happy@", "0@much", "1.5"])
def test_faces_that_are_no_faces(text: str) -> None:
    with pytest.raises(EditError, match="is not like 0, 0:happy or"):
        parse_face(text)


def test_an_edit_can_be_hashed_and_compared() -> None:
    assert Edit("happy", set={"jawOpen": 0.5}) == Edit("happy", set={"jawOpen": 0.5})
    assert len({Edit("happy"), Edit("happy"), Edit("sad")}) == 2


@pytest.mark.parametrize(("wrong", "near"), [("hapy", "happy"), ("suprised", "surprised")])
def test_an_unknown_expression_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(EditError, match=f"did you mean {near}"):
        Edit(wrong)


def test_an_expression_like_no_other_gets_the_list() -> None:
    with pytest.raises(EditError, match=", ".join(EXPRESSIONS)):
        Edit("xyzzy")


def test_faces_are_chosen_by_index() -> None:
    faces = [a_face(i, i) for i in range(3)]
    assert choose(faces, None) == faces
    assert [f.index for f in choose(faces, [2, 0, 2])] == [0, 2]
    for wrong in (3, 9, -1):
        with pytest.raises(EditError, match=f"no face {wrong}: the photo has 3 faces, 0 to 2"):
            choose(faces, [wrong])


def test_a_face_says_its_expression_and_strongest_blendshapes() -> None:
    face = a_face()
    assert face.expression == EXPRESSIONS[2]
    top = face.top_blendshapes(4)
    assert len(top) == 4 and "_neutral" not in top
    assert list(top.values()) == sorted(top.values(), reverse=True)
    assert next(iter(top.values())) == round(float(face.blendshapes[1:].max()), 3)


def test_a_head_is_turned_far_from_about_half_profile_on() -> None:
    """The nose's tip beyond the middle of the nearer half of the face, tilted or not."""
    straight = mean_face() * 200
    half = float(np.ptp(straight[[234, 454], 0])) / 2
    tilt = np.array([[0.8, -0.6], [0.6, 0.8]], np.float32)
    for share, far in ((0.0, False), (0.3, False), (-0.3, False), (0.7, True), (-0.7, True)):
        landmarks = straight.copy()
        landmarks[1, 0] += 2 * share * half
        for points in (landmarks, landmarks @ tilt.T):
            assert replace(a_face(), landmarks=points).turned_far is far
