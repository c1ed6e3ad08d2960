"""Rendered faces: portraits of made-up people with known landmarks, whose use is free.

The ICT Face Model Light (MIT licence) is posed, lit and painted by program; no photo and no
network has a part in it. Landmarks are exact, also those that are hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.face import EXPRESSIONS, FloatArray
from facepaint.lab.data import render_head, render_light, render_scene, render_shading
from facepaint.lab.data import render_textures as textures
from facepaint.lab.data.datasets import Portrait
from facepaint.lab.data.render_acting import Acted, act
from facepaint.lab.data.render_hair import Strands, grow
from facepaint.lab.data.render_head import Actor
from facepaint.lab.data.render_mesh import Reals, sample
from facepaint.lab.data.render_scene import Camera
from facepaint.lab.data.render_textures import Look

Pixels = npt.NDArray[np.uint8]

PICTURES = 6  # of each person
_FINER = 2  # pixels drawn for each pixel of a picture, along each axis
_SIGMA = 0.75  # of the identity shapes, in standard deviations
_CROP = (0.66, 0.8)  # of the picture's side: the side of the networks' crop
_TOOTH_SHIFT, _TOOTH_SIZE = 0.013, 0.02  # centimetres, and of its size: how teeth differ


def portraits(model_file: Path, seed: int, count: int, size: int = 512) -> Iterator[Portrait]:
    """Renders faces.

    Args:
        model_file: ict_facekit.npz.
        seed: the same gives the same pictures.
        count: how many pictures; `PICTURES` of each person, one person after another.
        size: pixels a side.

    Yields:
        Portraits of subject "rendered-N" and source "rendered". Their blendshapes are what was
        asked of the model. mouthClose lifts the lower lip by as much as an opened jaw takes it
        down, so it is at most jawOpen.
    """
    actor = render_head.load(model_file)
    for number in range(count):
        who, which = divmod(number, PICTURES)
        if which == 0 or number == 0:
            person = np.random.default_rng([seed, who])
            look, identity = textures.draw(actor, person), _identity(actor, person)
        rng = np.random.default_rng([seed, who, which])
        yield _portrait(actor, look, identity, act(rng, which), rng, size, f"rendered-{seed}-{who}")


def _identity(actor: Actor, rng: np.random.Generator) -> FloatArray:
    """Offsets of a person's head and teeth from the mean, float32 [V, 3]."""
    weights = np.clip(rng.normal(0, _SIGMA, len(actor.identities)), -1.6, 1.6)
    offsets = np.tensordot(weights.astype(np.float32), actor.identities, 1)
    for tooth in range(int(actor.teeth.max()) + 1):
        there = actor.teeth == tooth
        points = actor.rest[there]
        larger = rng.normal(-0.005, _TOOTH_SIZE, 3)
        offsets[there] += (points - points.mean(0)) * larger + rng.normal(0, _TOOTH_SHIFT, 3)
    return np.asarray(offsets, np.float32)


def _portrait(
    actor: Actor,
    look: Look,
    identity: Reals,
    acted: Acted,
    rng: np.random.Generator,
    size: int,
    subject: str,
) -> Portrait:
    posed = render_head.pose(actor, identity, acted.blendshapes, acted.tongue)
    fine = size * _FINER
    camera = _camera(actor, posed.points, rng, fine)
    lighting = render_light.draw(rng)
    scene = render_scene.scene(actor, posed, look, camera, lighting, acted.blendshapes)
    seen = render_scene.surface(scene, fine)
    scene = render_scene.exposed(scene, seen)
    colours, lit = render_shading.shade(scene, seen, _background(rng, fine))
    picture = render_light.tone(colours)
    depth = seen.raster.picture(seen.raster.of(scene.screen[:, 2]), -np.inf)
    hair = np.random.default_rng(int(look.shift[0] * 1e9))
    grow(scene, Strands(scene, picture, depth, lit), hair)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    on_screen = camera.screen(actor.landmarks.of(posed.points @ camera.turn.T).astype(np.float32))
    landmarks = (on_screen[:, :2] / _FINER).astype(np.float32)
    return Portrait(
        np.asarray(small, np.uint8),
        align.align(landmarks),
        landmarks,
        acted.blendshapes,
        -1 if acted.expression is None else EXPRESSIONS.index(acted.expression),
        subject,
        "rendered",
    )


def _camera(actor: Actor, points: Reals, rng: np.random.Generator, size: int) -> Camera:
    """A camera that shows the networks' crop of the face about the picture's middle."""
    yaw = np.clip(rng.normal(0, 15), -35, 35)
    pitch = np.clip(rng.normal(0, 6), -15, 15)
    roll = np.clip(rng.normal(0, 4), -10, 10)
    turn = render_head.rotation(*(float(np.radians(a)) for a in (yaw, pitch, roll)))
    distance = float(rng.uniform(55, 160))
    seen = actor.landmarks.of(points @ turn.T).astype(np.float32)
    unscaled = Camera(turn, distance, 1.0, np.zeros(2, np.float32))
    frame = align.align(unscaled.screen(seen)[:, :2])
    scale = float(rng.uniform(*_CROP)) * size / align.side_of(frame)
    middle = align.apply(frame, np.array([[0.5, 0.5]], np.float32))[0]
    shift = size * (0.5 + rng.normal(0, 0.02, 2)) - middle * scale
    return Camera(turn, distance, scale, shift.astype(np.float32))


def _background(rng: np.random.Generator, size: int) -> FloatArray:
    """Soft colours and blurred noise, linear, float32 [size, size, 3]."""
    coarse = 64
    base = textures.linear(rng.uniform(15, 240, (2, 1)) + rng.normal(0, 30, (2, 3)))
    rows, columns = np.indices((coarse, coarse)) / (coarse - 1)
    turn = rng.uniform(0, 2 * np.pi)
    along = 0.5 + 0.7 * ((columns - 0.5) * np.cos(turn) + (rows - 0.5) * np.sin(turn))
    picture = base[0] + (base[1] - base[0]) * along[..., None]
    if rng.random() < 0.6:
        at = np.stack([columns.ravel(), rows.ravel()], 1) * rng.uniform(0.3, 0.9)
        for _ in range(3):
            cloud = sample(textures.noise(0.12, 0.7), at + rng.uniform(0, 1, 2))
            tint = textures.linear(rng.uniform(10, 245) + rng.normal(0, 35, 3)) - picture
            strength = np.clip(cloud.reshape(coarse, coarse, 1), 0, 1) * rng.uniform(0.1, 0.8)
            picture = picture + tint * strength
    soft = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), float(rng.uniform(1.5, 4)))
    large = cv2.resize(soft, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(large, 0.002, 1), np.float32)
