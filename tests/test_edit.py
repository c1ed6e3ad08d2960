"""Edit: what may be asked, and the change of blendshapes that it means."""

from __future__ import annotations

import numpy as np
import pytest

from facepaint import BLENDSHAPES, EXPRESSIONS, Box, Edit, EditError, Face
from facepaint.edit import change, choose

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
    own = TARGETS[to] > TARGETS["neutral"] + 0.05
    kept = own & (face.blendshapes > TARGETS[to])
    assert np.allclose(reached[~gaze & ~kept], TARGETS[to][~gaze & ~kept], atol=1e-6)
    assert np.array_equal(reached[gaze | kept], face.blendshapes[gaze | kept])
    assert (to == "neutral") == (not kept.any())


def test_change_is_linear_in_strength_and_zero_at_zero() -> None:
    face = a_face()
    whole = change(Edit("happy"), face, TARGETS)
    assert not change(Edit("happy", 0.0), face, TARGETS).any()
    assert np.allclose(change(Edit("happy", 0.3), face, TARGETS), 0.3 * whole, atol=1e-6)


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan"), float("inf")])
def test_strength_outside_its_range_is_refused(strength: float) -> None:
    with pytest.raises(EditError, match="outside 0 to 1"):
        Edit("happy", strength)


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
