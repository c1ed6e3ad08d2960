"""Answers: what the service says, as JSON, and how its document describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from facepaint.face import Face
from facepaint.photo import Photo

SOFT = 400  # photo pixels; a mouth painted anew is soft in wider faces


class BoxOut(BaseModel):
    x: float
    y: float
    width: float
    height: float


class FaceOut(BaseModel):
    """A face; lengths and landmarks in pixels of the upright photo, x to the right, y down."""

    index: int = Field(description="The face's number, in reading order from 0.")
    box: BoxOut
    score: float = Field(description="The detector's belief in the box, 0 to 1.")
    confidence: float = Field(description="The reader's belief that it is a face, 0 to 1.")
    expression: str
    expressions: dict[str, float] = Field(description="Probabilities, summing to 1.")
    top_blendshapes: dict[str, float]
    blendshapes: dict[str, float] = Field(description="0 to 1.")
    landmarks: list[tuple[float, float]] = Field(description="478 points of the face mesh.")


class Faces(BaseModel):
    width: int = Field(description="Of the upright photo, pixels.")
    height: int
    faces: list[FaceOut]


class Edited(BaseModel):
    """The edited photo with what is known of it."""

    photo: str = Field(
        description="The file, base64.", json_schema_extra={"contentEncoding": "base64"}
    )
    media_type: str
    width: int
    height: int
    faces: list[FaceOut] = Field(description="The faces that were edited, as they were before.")
    warnings: list[str]


class Models(BaseModel):
    models: dict[str, dict[str, Any]] = Field(description="The networks' cards by name.")
    expressions: list[str]
    blendshapes: list[str]
    regions: list[str]
    limits: dict[str, int]


class Health(BaseModel):
    status: str
    version: str


def warnings_of(before: Photo, after: Photo, faces: list[Face]) -> list[str]:
    """What whoever asked should know of the edit that was made of `faces`."""
    said = []
    for face in faces:
        if not _differs(before, after, face):
            said.append(f"face {face.index}: nothing changed; it is as was asked already")
        elif face.box.width > SOFT:
            wide = f"face {face.index} is {face.box.width:.0f} pixels wide"
            said.append(f"{wide}; teeth and lips painted anew are soft beyond {SOFT}")
    return said


def _differs(before: Photo, after: Photo, face: Face) -> bool:
    """Whether any pixel within a face's box is another."""
    x, y, width, height, _ = face.box
    rows, columns = slice(max(0, int(y)), int(y + height)), slice(max(0, int(x)), int(x + width))
    return not np.array_equal(before.pixels[rows, columns], after.pixels[rows, columns])
