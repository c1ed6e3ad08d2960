"""The method that ships: move, then repaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facepaint import align
from facepaint.align import CROP
from facepaint.edit import Edit
from facepaint.editing.gaze import openings, turn
from facepaint.editing.mover import Mover
from facepaint.editing.plan import GAZE, Plan, plan
from facepaint.editing.repaint import Change, repaint
from facepaint.errors import EditError
from facepaint.face import Face, FloatArray
from facepaint.face_model import pose_of
from facepaint.models import NETWORKS, Model, open_model, read_manifest
from facepaint.names import EXPRESSIONS
from facepaint.segment import region_mask, visible_face, without_hidden

_RIM, _LEAST = 3, 1  # pixels of a crop of 128, for what is before a face (`without_hidden`)
_REDUCED_FROM, _REDUCED_TO = 45.0, 65.0  # degrees of yaw between which an edit fades to nothing


class MoveAndRepaint:
    """Moves a face's landmarks, warps the photo after them, and repaints eyes and mouth."""

    turns_eyes = True

    def __init__(self, folder: Path) -> None:
        """Open the networks.

        Args:
            folder: a folder of weights with a manifest.

        Raises:
            WeightsError: if a network is missing or is not what the manifest says.
        """
        held = read_manifest(folder)
        needed = NETWORKS["repaint"]
        self._networks = {
            name: open_model(name, folder)
            for name in needed
            if name in held or name not in ("shade", "visibility")
        }
        self._mover = Mover(self._networks["mover"])

    @property
    def networks(self) -> dict[str, Model]:
        """The networks by name."""
        return self._networks

    @property
    def card(self) -> dict[str, Any]:
        """The card of the mover, which has the targets of the expressions."""
        return self._networks["mover"].card

    def paint(self, pixels: npt.NDArray[np.uint8], face: Face, edit: Edit) -> bool:
        """As of `facepaint.methods.Method`."""
        change = self.change(face, edit, pixels)
        if change is None:
            return False
        frame = align.align(face.landmarks)
        mask = visible_face(face, frame, CROP, change.asked)
        if "visibility" in self._networks:
            crop = align.crop(pixels, frame)
            seen = self._networks["visibility"](crops=crop[None])["visible"][0]
            whole = mask
            mask = without_hidden(mask, change.points, seen, _RIM, _LEAST)
            if (change.want != change.have)[GAZE].any():
                eyes = openings(pixels, frame, change.points, change.asked, mask)
                mask = np.maximum(mask, whole * eyes)
        if regions := edit.regions or (("eyes",) if change.is_gaze_alone else ()):
            mask = mask * region_mask(face, frame, regions)
        repaint(pixels, frame, change, self._networks, mask)
        return True

    def wanted(self, face: Face, edit: Edit) -> FloatArray | None:
        """As of `facepaint.methods.Method`."""
        return self._plan(face, edit).want

    def change(
        self, face: Face, edit: Edit, pixels: npt.NDArray[np.uint8] | None = None
    ) -> Change | None:
        """Say what is to become of a face.

        Args:
            face: as it was read.
            edit: what is asked of it.
            pixels: the photo, uint8 [H, W, 3] RGB, in which eyes that are to turn are looked for;
                None to believe the irises that were read.

        Returns:
            Landmarks and blendshapes as they are and as they are asked for; None where the face is
            to stay as it is, or is turned too far to be edited.

        Raises:
            EditError: if the weights do not know the expression.
        """
        asked = self._plan(face, edit)
        frame = align.align(face.landmarks)
        points = align.apply(align.invert(frame), face.landmarks)
        kept = _kept_at(abs(pose_of(points).yaw))
        if asked.asks_nothing or not kept:
            return None
        eyes = turn(edit, asked.have, asked.want, points, pixels, frame)
        asked, points = Plan(eyes.have, eyes.want, asked.name), eyes.points
        if asked.asks_nothing:
            return None
        moved = eyes.placed(self._mover(points, *asked))
        moved = np.asarray(points + kept * (moved - points), np.float32)
        return Change(points, moved, asked.have, asked.want, asked.name)

    def _plan(self, face: Face, edit: Edit) -> Plan:
        targets = self._mover.targets
        if edit.to is not None and edit.to not in targets:
            known = " or ".join(n for n in EXPRESSIONS if n in targets)
            raise EditError(f"these weights make a face {known}, not {edit.to}")
        return plan(edit, face, targets)


def _kept_at(yaw: float) -> float:
    """How much of an edit is made of a head turned by so many degrees, 0 to 1."""
    return float(np.clip((_REDUCED_TO - yaw) / (_REDUCED_TO - _REDUCED_FROM), 0, 1))
