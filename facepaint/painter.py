"""Painter: the object that users hold; it runs photo → faces → edited faces → photo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from facepaint.change import choose
from facepaint.detect import Detector, detect
from facepaint.edit import Edit
from facepaint.errors import EditError, NoFaceError
from facepaint.face import Face, FloatArray
from facepaint.mark import mark_of, merged
from facepaint.methods import Method, known_to, lookup
from facepaint.models import default_method, folder_of, home_of_reader, open_model, taking_part
from facepaint.photo import Photo, Source
from facepaint.read import read, reread
from facepaint.xmp import without_pictures

Kind = TypeVar("Kind", bytes, npt.NDArray[np.uint8], Image.Image, Photo)
Progress = Callable[[int, int], None]  # faces done, faces in all
Chosen: TypeAlias = "Sequence[int] | Mapping[int, Edit] | None"  # faces by index


NO_FACE = "no face found; a larger, sharper or more upright picture of the face may help"


class Painter:
    """Reads and repaints the faces of photos. Holds its networks and no state that changes."""

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        method: str | None = None,
        mark: bool = True,
    ) -> None:
        """Open the networks.

        Args:
            weights: None for those that ship, "open" for those whose data is free (happy and
                neutral only), or a folder with a manifest of weights, which may do without a
                reader.
            method: by name, of METHODS; None for the one that the weights are for.
            mark: whether edited photos say so in their XMP (`facepaint.mark`; docs/fair-use.md has
                the law's side of it).

        Raises:
            WeightsError: if weights are not what the manifest says.
            EditError: if there is no such method.
        """
        folder = folder_of(weights)
        self._reader = open_model("reader", home_of_reader(folder))
        self.method_name = method or default_method(folder)
        self.method: Method = lookup(self.method_name)(folder)
        self.mark = mark
        self.models = taking_part(folder, self.method_name)  # for the mark

    @property
    def cards(self) -> dict[str, dict[str, Any]]:
        """The cards of the networks: what they are, their data and licence, what was measured."""
        networks = {"reader": self._reader} | self.method.networks
        return {name: network.card for name, network in networks.items()}

    @property
    def expressions(self) -> tuple[str, ...]:
        """The named expressions that it can make, in the order of EXPRESSIONS."""
        return known_to(self.method)

    def faces(self, image: Source, detector: str | Detector | None = None) -> list[Face]:
        """The faces of a photo in reading order.

        image: a path, bytes, binary file, PIL image, uint8 array [H, W, 3], or Photo. Raises
        PhotoError where it is no photo. No face is no error: the list is empty.
        """
        pixels = Photo.read(image).pixels
        return read(pixels, detect(pixels, detector), self._reader)

    def follow(
        self, pixels: npt.NDArray[np.uint8], frames: list[FloatArray], looks: int = 2
    ) -> list[Face]:
        """What the crops of `frames` show, a face for each, whatever its confidence.

        For the next picture of a clip: pixels uint8 [H, W, 3] RGB, and where each face of the last
        one should be now. looks: how often a crop is moved to what was seen in it.
        """
        return reread(pixels, frames, self._reader, looks)

    @overload
    def edit(
        self,
        image: Kind,
        to: str | None = ...,
        *,
        strength: float = ...,
        set: Mapping[str, float] | None = ...,
        like: Face | Source | None = ...,
        look: str | None = ...,
        regions: Sequence[str] = ...,
        faces: Chosen = ...,
        detector: str | Detector | None = ...,
        progress: Progress | None = ...,
    ) -> Kind: ...

    @overload
    def edit(
        self,
        image: str | os.PathLike[str] | IO[bytes],
        to: str | None = ...,
        *,
        strength: float = ...,
        set: Mapping[str, float] | None = ...,
        like: Face | Source | None = ...,
        look: str | None = ...,
        regions: Sequence[str] = ...,
        faces: Chosen = ...,
        detector: str | Detector | None = ...,
        progress: Progress | None = ...,
    ) -> Photo: ...

    def edit(
        self,
        image: Any,
        to: str | None = None,
        *,
        strength: float = Edit.strength,
        set: Mapping[str, float] | None = None,
        like: Face | Source | None = None,
        look: str | None = Edit.look,
        regions: Sequence[str] = Edit.regions,
        faces: Chosen = None,
        detector: str | Detector | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """The photo with another expression on its faces, as the same kind that was given.

        image: bytes, PIL image, uint8 array or Photo, and the same comes back (bytes in the same
        format); for a path or a file, a Photo. It is not changed. What comes back is marked, but
        for an array, which cannot say what was done to it.
        to, strength, set, like, look, regions: what is asked, as of `Edit`; `like` may also be a
        photo, whose first face is taken. faces: indices as `faces` numbers them, None for all, or
        a dict from index to the `Edit` of that face. detector, progress: as of `faces` and
        `repaint`.
        Raises PhotoError, NoFaceError or EditError.
        """
        if isinstance(faces, Mapping):
            if to is not None or set or like is not None or look is not None or regions:
                raise EditError(
                    "faces says what each face is asked; leave out to, set, like, look, regions"
                )
            each = dict(faces)
        else:
            if like is not None and not isinstance(like, Face):
                like = self.face_of(like)
            each, common = {}, Edit(to, strength, set or {}, like, look, tuple(regions))
        photo = Photo.read(image)
        found = self.faces(photo, detector)
        if not found:
            raise NoFaceError(NO_FACE)
        chosen = choose(found, None if faces is None else list(faces))
        edits = [(face, each[face.index] if each else common) for face in chosen]
        return _as_given(image, self.repaint(photo, edits, progress))

    def face_of(self, image: Source, index: int = 0) -> Face:
        """One face of a photo, to copy the expression of; EditError or NoFaceError if not there."""
        found = self.faces(image)
        if not found:
            raise NoFaceError(f"the picture to take an expression from: {NO_FACE}")
        return choose(found, [index])[0]

    def repaint(
        self, photo: Photo, edits: list[tuple[Face, Edit]], progress: Progress | None = None
    ) -> Photo:
        """The photo with each face edited as it says; all other pixels are the photo's own.

        Where a pixel has changed, the photo's XMP says so, unless this painter does not mark.
        """
        pixels, made = self.paint(photo.pixels, edits, progress)
        result = photo.with_pixels(pixels)
        if not made or np.array_equal(pixels, photo.pixels):
            return result
        xmp = without_pictures(photo.metadata.xmp)
        if self.mark:
            xmp = merged(xmp, mark_of(made, self.models))
        return replace(result, metadata=replace(photo.metadata, xmp=xmp))

    def paint(
        self,
        pixels: npt.NDArray[np.uint8],
        edits: list[tuple[Face, Edit]],
        progress: Progress | None = None,
    ) -> tuple[npt.NDArray[np.uint8], list[tuple[Face, Edit]]]:
        """Of `repaint` the pixels alone, uint8 [H, W, 3] RGB, with nothing marked: those of the
        result, and which edits asked for a change."""
        result = pixels.copy()
        made: list[tuple[Face, Edit]] = []
        for done, (face, edit) in enumerate(edits):
            if progress:
                progress(done, len(edits))
            if self.method.paint(result, face, edit):
                made.append((face, edit))
        if progress:
            progress(len(edits), len(edits))
        return result, made


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
