"""Service: the HTTP interface, documented by its own /openapi.json."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from pydantic import Json

from facepaint._version import __version__
from facepaint.describe import describe
from facepaint.names import BLENDSHAPES, REGIONS
from facepaint.photo import FORMATS, Photo
from facepaint.web import faults
from facepaint.web.answers import Edited, Faces, Health, Models, warnings_of
from facepaint.web.asked import EditRequest, plan
from facepaint.web.gate import Gate, Slots
from facepaint.web.work import Bench

MEDIA = {name: f"image/{name.lower()}" for name in sorted(set(FORMATS.values()))}
_BINARY = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": faults.Faulty, "description": text}
    for status, text in faults.DOCUMENTED.items()
}
_IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The edited photo as a file or, where JSON is accepted, described.",
        "content": dict.fromkeys(MEDIA.values(), _BINARY),
    }
}
_PHOTO = File(description="JPEG, PNG, WebP or TIFF.")
_LIKE = File(description="A picture of the face whose expression is copied.")


def create(bench: Bench, slots: Slots | None = None) -> FastAPI:
    """The service: an ASGI application that works with `bench` in the threads of `slots`."""
    slots = slots or Slots(bench.limits.workers)
    # the usual pages of documentation load their scripts from elsewhere
    app = FastAPI(title="FacePaint", version=__version__, docs_url=None, redoc_url=None)
    faults.install(app)
    app.add_middleware(Gate, limits=bench.limits)
    _add_work(app, bench, slots)
    _add_facts(app, bench)
    return app


def _add_work(app: FastAPI, bench: Bench, slots: Slots) -> None:
    @app.post("/v1/faces", responses=_FAULTS)
    async def faces(photo: Annotated[UploadFile, _PHOTO]) -> Faces:
        """The faces of a photo: boxes, landmarks, blendshapes, expressions. None is no error."""
        data = await photo.read()
        return await slots.run(_faces, bench, data)

    @app.post("/v1/edit", response_model=Edited, responses=_IMAGES | _FAULTS)
    async def edit(
        request: Request,
        photo: Annotated[UploadFile, _PHOTO],
        edit: Annotated[Json[EditRequest], Form(description="An EditRequest.")],  # type: ignore[valid-type]
        like: Annotated[UploadFile | None, _LIKE] = None,
    ) -> Any:
        """The photo with another expression on its faces.

        A file in the photo's own format with its own metadata; with `Accept: application/json`
        the same in a document, with the faces and warnings.
        """
        data, other = await photo.read(), await like.read() if like else None
        return await slots.run(_edit, bench, data, edit, other, _wants_json(request))


def _wants_json(request: Request) -> bool:
    """Whether JSON is what is accepted first."""
    first = request.headers.get("accept", "").split(",")[0]
    return first.split(";")[0].strip().lower() == "application/json"


def _add_facts(app: FastAPI, bench: Bench) -> None:
    @app.get("/v1/models")
    async def models() -> Models:
        """The networks' cards, the names that edits may use, and the limits."""
        return Models(
            models=bench.painter.cards,
            expressions=list(bench.painter.expressions),
            blendshapes=list(BLENDSHAPES[1:]),
            regions=list(REGIONS),
            limits=asdict(bench.limits),
        )

    @app.get("/healthz")
    async def healthz() -> Health:
        """Whether the service answers; needs no token."""
        return Health(status="ok", version=__version__)


def _faces(bench: Bench, data: bytes) -> Faces:
    photo, found = bench.read(data)
    height, width = photo.pixels.shape[:2]
    return Faces.model_validate(
        {"width": width, "height": height, "faces": [describe(face) for face in found]}
    )


def _edit(
    bench: Bench, data: bytes, asked: Any, other: bytes | None, as_json: bool
) -> Response | Edited:
    photo, found = bench.read(data)
    like = bench.read(other)[1] if other is not None else None
    edits = plan(asked, found, like)
    result = bench.painter.repaint(photo, edits)
    encoded = result.encode(asked.format)
    media = MEDIA[FORMATS[(asked.format or photo.format or "PNG").lower()]]
    if not as_json:
        return Response(encoded, media_type=media)
    return _described(photo, result, [face for face, _ in edits], encoded, media)


def _described(before: Photo, after: Photo, faces: list[Any], encoded: bytes, media: str) -> Edited:
    height, width = before.pixels.shape[:2]
    values = {
        "photo": base64.b64encode(encoded).decode(),
        "media_type": media,
        "width": width,
        "height": height,
        "faces": [describe(face) for face in faces],
        "warnings": warnings_of(before, after, faces),
    }
    return Edited.model_validate(values)
