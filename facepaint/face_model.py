"""A 3-D model of the face mesh: where its landmarks lie in depth, and how each muscle moves them.

The numbers are derived from the ICT Face Model Light (see face_model.md) and lie in
face_model.npz. Coordinates are crop units (see `facepaint.align`) with a depth: x to the right of
the photo, y down, z towards the viewer, all at the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facepaint.face import FloatArray
from facepaint.mesh import mirrored_landmarks

Floats = npt.NDArray[np.float64]

# Landmarks that an expression hardly moves, the person's right side, then the middle: eye corners,
# temple, root, bridge and tip of the nose. Lids, brows, lips and jaw are left out, and so are the
# outline of the face, which follows the visible edge of a turned head, and the nose wings, which
# sneers and smiles move.
_RIGHT = (33, 133, 130, 243, 244, 245, 122, 188, 174, 196, 193, 3, 236, 51, 45, 134, 198)
_RIGHT_SIDE = (143, 156, 34, 139, 71, 68, 104, 69, 108)
_MIDDLE = (168, 6, 197, 195, 5, 4, 1, 8, 9, 151)
_ROUNDS = 4  # of refining a pose; more change it by less than 0.1 degrees


@cache
def _model() -> tuple[FloatArray, FloatArray]:
    with np.load(Path(__file__).with_name("face_model.npz"), allow_pickle=False) as file:
        mean, moves = file["mean_3d"].astype(np.float32), file["moves_3d"].astype(np.float32)
    mean.flags.writeable = moves.flags.writeable = False
    return mean, moves


def mean_3d() -> FloatArray:
    """Returns the mean face in 3-D.

    Returns:
        float32 [478, 3], crop units, read-only; z is 0 at the irises' centres.
    """
    return _model()[0]


def moves_3d() -> FloatArray:
    """Returns how far each landmark of the mean face goes for each blendshape.

    Returns:
        float32 [52, 478, 3], crop units, read-only: the offset at a score of 1, in the order of
        `facepaint.face.BLENDSHAPES`. Offsets of several blendshapes add up.
    """
    return _model()[1]


@dataclass(frozen=True, eq=False)
class Pose:
    """How a head is seen: a weak-perspective camera.

    A point p of the face's own frontal frame (crop units of the mean face) is seen at
    `scale * (rotation @ p)[:2] + shift`.

    Attributes:
        scale: units of the landmarks per crop unit of the mean face.
        rotation: float64 [3, 3], orthonormal, determinant 1; the identity for a frontal face.
        shift: float64 [2], in units of the landmarks.
    """

    scale: float
    rotation: Floats
    shift: Floats

    @property
    def yaw(self) -> float:
        """Degrees that the head is turned to a side; positive to the person's own left, which is
        the photo's right."""
        return float(np.degrees(np.arcsin(np.clip(-self.rotation[2, 0], -1, 1))))

    @property
    def pitch(self) -> float:
        """Degrees that the head is tilted up or down; positive when the person looks up."""
        return float(np.degrees(np.arctan2(self.rotation[2, 1], self.rotation[2, 2])))

    @property
    def roll(self) -> float:
        """Degrees that the face is turned within the photo; positive clockwise, as seen."""
        return float(np.degrees(np.arctan2(self.rotation[1, 0], self.rotation[0, 0])))

    def project(self, points: FloatArray) -> FloatArray:
        """Returns where points of the frontal frame are seen.

        Args:
            points: float [N, 3], crop units of the mean face.

        Returns:
            float32 [N, 2], in the landmarks' units.
        """
        seen: FloatArray = (self.lifted(points) + self.shift).astype(np.float32)
        return seen

    def lifted(self, moves: FloatArray) -> FloatArray:
        """Returns how moves of the frontal frame are seen.

        Args:
            moves: float [N, 3], crop units of the mean face.

        Returns:
            float32 [N, 2], in the landmarks' units.
        """
        seen: FloatArray = (self.scale * moves @ self.rotation[:2].T).astype(np.float32)
        return seen

    def frontal(self, moves: FloatArray) -> FloatArray:
        """Returns seen moves in the frontal frame, as if none of them went into depth.

        It undoes `lifted` for moves without depth. What it makes of a head turned by more than
        60 degrees is unreliable: a turn shortens moves by its cosine.

        Args:
            moves: float [N, 2], in the landmarks' units.

        Returns:
            float32 [N, 2], x and y in crop units of the mean face.
        """
        undo = np.linalg.inv(self.scale * self.rotation[:2, :2])
        flat: FloatArray = (moves @ undo.T).astype(np.float32)
        return flat


def pose_of(landmarks: FloatArray) -> Pose:
    """Fits a weak-perspective camera to a face by its rigid landmarks.

    The first guess is the affine camera of least squares, made orthonormal. It is refined by
    giving each landmark the depth that the last guess predicts and aligning both in 3-D, with
    less weight for landmarks that fit badly.

    Args:
        landmarks: float [478, 2], in photo pixels or in crop units.

    Returns:
        The pose; its scale and shift are in units of `landmarks`.
    """
    points, seen = _rigid(), landmarks[_rigid_landmarks()].astype(np.float64)
    weights = np.ones(len(points))
    pose = _affine(points, seen)
    for _ in range(_ROUNDS):
        depth = pose.scale * points @ pose.rotation[2]
        pose = _aligned(points, np.column_stack([seen, depth]), weights)
        away = np.linalg.norm(pose.scale * points @ pose.rotation[:2].T + pose.shift - seen, axis=1)
        weights = 1 / (1 + (away / (2 * np.median(away) + 1e-9)) ** 2)
    return pose


@cache
def _rigid_landmarks() -> npt.NDArray[np.intp]:
    right = np.array((*_RIGHT, *_RIGHT_SIDE))
    return np.concatenate([right, mirrored_landmarks()[right], np.array(_MIDDLE)])


@cache
def _rigid() -> Floats:
    return mean_3d()[_rigid_landmarks()].astype(np.float64)


def _affine(points: Floats, seen: Floats) -> Pose:
    """The affine camera of least squares, with its rows made orthonormal."""
    middle, at = points.mean(0), seen.mean(0)
    camera = np.linalg.lstsq(points - middle, seen - at, rcond=None)[0].T
    left, sizes, right = np.linalg.svd(camera, full_matrices=False)
    rows = left @ right
    rotation = np.vstack([rows, np.cross(rows[0], rows[1])])
    scale = float(sizes.mean())
    return Pose(scale, rotation, at - scale * rows @ middle)


def _aligned(points: Floats, seen: Floats, weights: Floats) -> Pose:
    """The similarity that takes points to seen, both [N, 3], by least squares (Umeyama 1991)."""
    share = weights / weights.sum()
    middle, at = share @ points, share @ seen
    points, seen = points - middle, seen - at
    left, sizes, right = np.linalg.svd((share[:, None] * seen).T @ points)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    rotation = (left * signs) @ right
    scale = float((sizes * signs).sum() / (share @ points**2).sum())
    return Pose(scale, rotation, (at - scale * rotation @ middle)[:2])
