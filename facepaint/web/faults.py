"""Faults: every error as one JSON form, {"error": {"type": …, "message": …}}, with its status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from facepaint.errors import EditError, FacePaintError, NoFaceError, PhotoError, one_line


class Fault(BaseModel):
    """What was wrong, and what would work."""

    type: str = Field(description="EditError, PhotoError, NoFaceError, TooLarge, Busy, …")
    message: str = Field(description="One line for people.")


class Faulty(BaseModel):
    error: Fault


class TooLarge(HTTPException):
    """413: more bytes, pixels or faces than the service takes."""

    def __init__(self, message: str) -> None:
        super().__init__(413, message)


class Busy(HTTPException):
    """429: as many requests run and wait as the service takes."""

    def __init__(self, message: str) -> None:
        super().__init__(429, message, {"Retry-After": "1"})


_MISTAKES = (EditError, PhotoError, NoFaceError)  # of who asks; all others are the service's
DOCUMENTED = {
    400: "The body is no form, or the server was called by a name that is not its own.",
    401: "The server has a token, and the request shows none or another.",
    413: "More bytes, pixels or faces than the service takes.",
    422: "No photo, no face, or an edit that cannot be made.",
    429: "Too many requests at a time; try again.",
}


def answer(
    status: int, type: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer to a request that failed."""
    content = {"error": {"type": type, "message": one_line(message)}}
    return JSONResponse(content, status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Have `app` answer every error in the one form."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        name = type(error).__name__
        if name == "HTTPException":
            name = HTTPStatus(error.status_code).phrase.title().replace(" ", "")
        return answer(error.status_code, name, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return answer(422, "Invalid", f"{where}: {first['msg']}")

    @app.exception_handler(FacePaintError)
    async def mistaken(_: Request, error: FacePaintError) -> JSONResponse:
        status = 422 if isinstance(error, _MISTAKES) else 500
        return answer(status, type(error).__name__, str(error))

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        message = "something went wrong inside FacePaint; its log says what"
        return answer(500, "Internal", message)
