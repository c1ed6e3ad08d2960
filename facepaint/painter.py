"""Painter: the object that users hold; it runs photo → faces → edited faces → photo."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from facepaint import align
from facepaint.composite import composite
from facepaint.detect import Detector, detect
from facepaint.edit import Edit, choose
from facepaint.errors import EditError, NoFaceError
from facepaint.face import Face
from facepaint.methods import METHODS, Method
from facepaint.models import WEIGHTS, open_model
from facepaint.photo import Photo, Source
from facepaint.read import read
from facepaint.segment import visible_face

Kind = TypeVar("Kind", bytes, npt.NDArray[np.uint8], Image.Image, Photo)
Progress = Callable[[int, int], None]  # faces done, faces in all


NO_FACE = "no face found; a larger, sharper or more upright picture of the face may help"


class Painter:
    """Reads and repaints the faces of photos. Holds two networks and no other state."""

    def __init__(self, weights: str | os.PathLike[str] = WEIGHTS, method: str = "painter") -> None:
        """weights: a folder with a manifest of weights. Raises WeightsError where they are not
        what the manifest says, EditError for a method that there is not."""
        if method not in METHODS:
            near = get_close_matches(method, METHODS, 1) or list(METHODS)
            raise EditError(f"unknown method {method!r}; did you mean {' or '.join(near)}?")
        self._reader = open_model("reader", Path(weights))
        self._name = method
        self.method: Method = METHODS[method](Path(weights))

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """The cards of the networks: what they are, their data and licence, what was measured."""
        return {"reader": self._reader.card, self._name: self.method.card}

    def faces(self, image: Source, detector: str | Detector | None = None) -> list[Face]:
        """The faces of a photo in reading order.

        image: a path, bytes, binary file, PIL image, uint8 array [H, W, 3], or Photo. Raises
        PhotoError where it is no photo. No face is no error: the list is empty.
        """
        pixels = Photo.read(image).pixels
        return read(pixels, detect(pixels, detector), self._reader)

    @overload
    def edit(
        self,
        image: Kind,
        to: str,
        *,
        strength: float = ...,
        faces: Sequence[int] | None = ...,
        detector: str | Detector | None = ...,
        progress: Progress | None = ...,
    ) -> Kind: ...

    @overload
    def edit(
        self,
        image: str | os.PathLike[str] | IO[bytes],
        to: str,
        *,
        strength: float = ...,
        faces: Sequence[int] | None = ...,
        detector: str | Detector | None = ...,
        progress: Progress | None = ...,
    ) -> Photo: ...

    def edit(
        self,
        image: Any,
        to: str,
        *,
        strength: float = Edit.strength,
        faces: Sequence[int] | None = None,
        detector: str | Detector | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """The photo with another expression on its faces, as the same kind that was given.

        image: bytes, PIL image, uint8 array or Photo, and the same comes back (bytes in the same
        format); for a path or a file, a Photo. It is not changed.
        to: one of facepaint.EXPRESSIONS. strength: 0 to 1. faces: indices as `faces` numbers
        them, None for all. Raises PhotoError, NoFaceError or EditError.
        """
        asked = Edit(to, strength)
        photo = Photo.read(image)
        found = self.faces(photo, detector)
        if not found:
            raise NoFaceError(NO_FACE)
        edited = self.repaint(photo, [(face, asked) for face in choose(found, faces)], progress)
        return _as_given(image, edited)

    def repaint(
        self, photo: Photo, edits: list[tuple[Face, Edit]], progress: Progress | None = None
    ) -> Photo:
        """The photo with each face edited as it says; all other pixels are the photo's own."""
        pixels = photo.pixels.copy()
        for done, (face, edit) in enumerate(edits):
            if progress:
                progress(done, len(edits))
            frame = align.align(face.landmarks)
            strokes = self.method(align.crop(photo.pixels, frame), face, edit)
            if strokes is not None:
                composite(pixels, frame, strokes, visible_face(face, frame))
        if progress:
            progress(len(edits), len(edits))
        return photo.with_pixels(pixels)


def _as_given(image: Any, photo: Photo) -> Any:
    if isinstance(image, bytes):
        return photo.encode()
    if isinstance(image, np.ndarray):
        return _array_like(image, photo)
    if isinstance(image, Image.Image):
        return photo.to_image()
    return photo


def _array_like(given: npt.NDArray[np.uint8], photo: Photo) -> npt.NDArray[np.uint8]:
    """The photo's pixels with the channels of the array that was given."""
    if given.ndim == 2:
        return photo.pixels[..., 0].copy()
    if given.shape[2] == 4 and photo.alpha is not None:
        return np.dstack([photo.pixels, photo.alpha])
    return photo.pixels
