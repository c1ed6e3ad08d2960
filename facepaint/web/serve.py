"""Serve: an application on a socket, until it is told to stop and what runs is finished."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facepaint.errors import FacePaintError
from facepaint.web.gate import LOOPBACK, Access, new_token

GRACE = 60  # seconds that a running edit has after the signal to stop


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 for any free one. FacePaintError where that cannot be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FacePaintError(f"cannot listen on {host}:{port} ({reason}); see --port") from error


def token_for(host: str, token: str | None) -> str | None:
    """The token that requests must show: the given one, or a new one where others can reach us."""
    return token or (None if host in LOOPBACK else new_token())


def guarded(app: ASGIApp, host: str, token: str | None) -> ASGIApp:
    """`app` behind the token, and on the own machine only under the machine's own names."""
    return Access(app, token, LOOPBACK if host in LOOPBACK else None)


def run(app: ASGIApp, at: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; then take nothing new and finish what runs.

    Afterwards the signal is raised again: KeyboardInterrupt, or SystemExit of status 0.
    """
    signal.signal(signal.SIGTERM, _leave)  # what is open is closed, where the default would not
    streams = _Streams(app)
    config = uvicorn.Config(
        streams,
        log_level="warning",
        timeout_graceful_shutdown=GRACE,
        ws="none",
        server_header=False,
    )
    _Server(config, streams, ready).run([at])


def _leave(*_: object) -> None:
    raise SystemExit(0)


class _Streams:
    """Ends what an open page listens to, and what would otherwise never end, with the server."""

    _PATHS = ("/gradio_api/heartbeat/", "/gradio_api/queue/data")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not str(scope.get("path", "")).startswith(self._PATHS):
            await self._app(scope, receive, send)
            return
        open = True

        async def watched(message: Message) -> None:
            nonlocal open
            open = message["type"] != "http.response.body" or message.get("more_body", False)
            await send(message)

        stream = asyncio.ensure_future(self._app(scope, receive, watched))
        self._open.add(stream)
        try:
            await asyncio.wait([stream])
            if open:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._open.discard(stream)
            stream.cancel()

    def end(self) -> None:
        for stream in self._open:
            stream.cancel()


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, streams: _Streams, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._streams, self._ready = streams, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._streams.end()
        await super().shutdown(sockets)
