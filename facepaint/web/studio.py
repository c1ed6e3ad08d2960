"""Studio: the page on the service, and the ways its pictures go: in memory, under secret keys."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facepaint.photo import Photo
from facepaint.web import service
from facepaint.web.draft import Draft
from facepaint.web.faults import answer
from facepaint.web.gate import Slots
from facepaint.web.preview import Preview, jpeg
from facepaint.web.shelf import Open, Shelf
from facepaint.web.words import file_name
from facepaint.web.work import Bench

_NEVER_KEPT = {"Cache-Control": "no-store"}


class Opened(BaseModel):
    key: str
    faces: int


def create(bench: Bench, folder: str) -> FastAPI:
    """The service with the page at its root.

    folder: a private one for Gradio, which makes it but has no use for it here.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = folder
    slots, shelf = Slots(bench.limits.workers), Shelf()
    app = service.create(bench, slots)
    _add_pictures(app, bench, slots, shelf)
    app.add_middleware(_Narrow)
    return _with_page(app, bench, slots, shelf)


def _with_page(app: FastAPI, bench: Bench, slots: Slots, shelf: Shelf) -> FastAPI:
    import gradio

    from facepaint.web import page

    return gradio.mount_gradio_app(  # type: ignore[no-any-return]
        app,
        page.build(bench, slots, shelf, example() is not None),
        "/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=True,
        theme=page.theme(),
        css=page.static("page.css"),
        head=page.static("head.html"),
    )


def _add_pictures(app: FastAPI, bench: Bench, slots: Slots, shelf: Shelf) -> None:
    @app.post("/studio/photos", include_in_schema=False)
    async def put(request: Request, name: Annotated[str, Query()] = "photo") -> Opened:
        data = await request.body()
        opened = await slots.run(_opened, bench, shelf, data, _plain(name))
        return Opened(key=opened.key, faces=len(opened.draft.faces))

    @app.get("/studio/photos/{key}/before", include_in_schema=False)
    async def before(key: str, whole: bool = False) -> Response:
        opened = shelf.get(key)
        photo = opened.draft.photo if whole else opened.preview.photo
        return Response(await slots.run(jpeg, photo), media_type="image/jpeg", headers=_NEVER_KEPT)

    @app.get("/studio/photos/{key}/after", include_in_schema=False)
    async def after(key: str) -> Response:
        draft = shelf.get(key).draft
        data = await slots.run(lambda: jpeg(result(bench, draft)))
        return Response(data, media_type="image/jpeg", headers=_NEVER_KEPT)

    @app.get("/studio/photos/{key}/file", include_in_schema=False)
    async def file(key: str) -> Response:
        draft = shelf.get(key).draft
        data = await slots.run(lambda: result(bench, draft).encode())
        name = f"attachment; filename*=UTF-8''{quote(file_name(draft), safe='')}"
        media = service.MEDIA[draft.photo.format or "PNG"]
        return Response(data, media_type=media, headers=_NEVER_KEPT | {"Content-Disposition": name})

    @app.get("/studio/example", include_in_schema=False)
    async def an_example() -> Response:
        path = example()
        if path is None:
            return answer(404, "NotFound", "there is no example photo on this machine")
        return Response(path.read_bytes(), media_type="image/png")


def _opened(bench: Bench, shelf: Shelf, data: bytes, name: str) -> Open:
    photo, faces = bench.read(data)
    return shelf.put(Draft(name, photo, faces), Preview(bench.painter, photo, faces))


def result(bench: Bench, draft: Draft) -> Photo:
    """The photo as the draft would have it, at its own resolution."""
    edits = draft.edits()
    return bench.painter.repaint(
        draft.photo, [(face, edits[face.index]) for face in draft.faces if face.index in edits]
    )


def _plain(name: str) -> str:
    """A file's name to show and to save under: no folders, nothing that cannot be printed."""
    last = PurePath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[:100] or "photo"


def example() -> Path | None:
    """The public-domain portrait inside scikit-image's wheel, if that is installed."""
    spec = find_spec("skimage")  # finds the files and imports nothing
    folders = spec.submodule_search_locations if spec else None
    paths = (Path(folder) / "data" / "astronaut.png" for folder in folders or ())
    return next((path for path in paths if path.is_file()), None)


class _Narrow:
    """Keeps Gradio to what the page uses: no uploads, no files, no addresses of other machines."""

    _USED = ("run/", "queue/", "heartbeat/", "startup-events", "app_id", "info", "theme.css")
    _MOST = 1_000_000  # bytes of an event

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, inside, rest = str(scope.get("path", "")).partition("/gradio_api/")
        if not inside:
            await self._app(scope, receive, send)
        elif not rest.startswith(self._USED):
            await answer(404, "NotFound", "the page has no use for this")(scope, receive, send)
        elif scope["method"] != "POST":
            await self._app(scope, receive, send)
        else:
            body = await self._body(receive)
            if body is None:
                message = "an event of the page is small and names no files"
                await answer(422, "Invalid", message)(scope, receive, send)
            else:
                await self._app(scope, _replayed(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The JSON of an event; None where it is none, is too large or names a file."""
        body, more = b"", True
        while more and len(body) <= self._MOST:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            plain = json.dumps(json.loads(body))  # without escapes that could hide a name
        except ValueError:
            return None
        return None if more or "gradio.FileData" in plain else body


def _replayed(body: bytes, receive: Receive) -> Receive:
    first: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replaying() -> Message:
        return first.pop() if first else await receive()

    return replaying
