"""Gate: who comes in, how much they bring, and how many at a time; before anything is read."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facepaint.web.faults import TooLarge, answer
from facepaint.web.limits import Limits

T = TypeVar("T")
COOKIE = "facepaint_token"
OPEN = ("/healthz",)  # needs no token
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WORK = ("/v1/", "/studio/")
_OWN_ONLY = "'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
_HEADERS = {
    # the page's scripts are written into it, but whatever it loads comes from here
    "content-security-policy": f"default-src {_OWN_ONLY}; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Slots:
    """Threads for the work itself: never more than `count` at a time; the others wait in turn."""

    def __init__(self, count: int) -> None:
        self._limiter = anyio.CapacityLimiter(count)

    async def run(self, work: Callable[..., T], *given: object) -> T:
        """The result of `work(*given)`, which runs to its end even if nobody waits any more."""
        return await anyio.to_thread.run_sync(partial(work, *given), limiter=self._limiter)


class Gate:
    """Refuses requests that bring too much (413) or come while too many are inside (429)."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not _is_work(scope):
            await self._app(scope, receive, send)
            return
        most = self._limits.workers + self._limits.waiting
        if _length(scope) > self._limits.bytes:
            refused = answer(413, "TooLarge", too_many_bytes(self._limits))
        elif self._inside >= most:
            message = f"{most} requests run or wait already; try again"
            refused = answer(429, "Busy", message, {"Retry-After": "1"})
        else:
            await self._let_in(scope, receive, send)
            return
        await _drain(receive, self._limits.bytes)
        await refused(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._inside += 1
        try:
            await self._app(scope, _counted(receive, self._limits), send)
        finally:
            self._inside -= 1


def too_many_bytes(limits: Limits) -> str:
    return f"the request has more than {limits.bytes / 1e6:g} MB, the most that is taken"


def _is_work(scope: Scope) -> bool:
    return str(scope["path"]).startswith(_WORK)


def _length(scope: Scope) -> int:
    text = Headers(scope=scope).get("content-length", "0")
    return int(text[:20]) if text.isascii() and text.isdigit() else 0


def _counted(receive: Receive, limits: Limits) -> Receive:
    """`receive` that raises TooLarge once more has come than is taken, whatever was announced."""
    left = limits.bytes

    async def counting() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge(too_many_bytes(limits))
        return message

    return counting


async def _drain(receive: Receive, most: int) -> None:
    """Take what is still being sent, so that the sender comes to read the answer."""
    while most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


class Access:
    """Lets in those who have the token, if there is one, and pages of this server alone.

    hosts: the names by which the server may be called, None for any. A page elsewhere on the web
    that has its own name point here is turned away by them (400), one that posts to here by its
    origin (403); a wrong or missing token is a 401.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: tuple[str, ...] | None) -> None:
        self._app, self._token, self._hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reply = self._refusal(scope, headers) if scope["type"] == "http" else None
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close"})
        elif reply is not None:
            await reply(scope, receive, _marked(send))
        else:
            await self._app(scope, receive, _marked(send))

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """The answer that keeps a request out, None where it may come in."""
        host = _address(f"//{headers.get('host', '')}")
        if self._hosts is not None and (host.hostname or "") not in self._hosts:
            return answer(400, "WrongHost", f"this server is not called {host.netloc!r}")
        origin = headers.get("origin")
        if origin and scope["method"] != "GET" and _address(origin).netloc != host.netloc:
            return answer(403, "WrongOrigin", f"pages of {origin} may not use this server")
        if self._token is None or scope["path"] in OPEN:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if asked and scope["method"] == "GET" and self._is_right(asked):
            return _with_cookie(asked)
        if self._is_right(_shown(headers)):
            return None
        message = "this server needs its token: Authorization: Bearer TOKEN, or ?token=TOKEN"
        return answer(401, "Unauthorized", message, {"WWW-Authenticate": "Bearer"})

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), (self._token or "").encode())


def _address(url: str) -> SplitResult:
    """The parts of an address, empty ones where it is none."""
    try:
        return urlsplit(url)
    except ValueError:  # brackets that hold no IPv6 address
        return urlsplit("")


def _shown(headers: Headers) -> str:
    """The token that a request shows, in its header or its cookie."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    # Python's own reader of cookies raises, or reads none, where another program's is odd
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def _with_cookie(token: str) -> RedirectResponse:
    """To the page, with the token kept in a cookie instead of the address."""
    reply = RedirectResponse("/", 303)
    reply.set_cookie(COOKIE, token, httponly=True, samesite="strict")
    return reply


def _marked(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
        await send(message)

    return sending


def new_token() -> str:
    return secrets.token_urlsafe(24)
