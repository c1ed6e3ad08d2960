"""The commands of the extra `web`: the service alone, and with the page on it."""

from __future__ import annotations

import socket
import sys
import tempfile
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from facepaint.cli import options as given
from facepaint.cli.group import cli
from facepaint.cli.options import detector_option, method_option, weights_option
from facepaint.web.limits import Limits

if TYPE_CHECKING:
    from facepaint.web.work import Bench


def _server_options(command: Any) -> Any:
    """Where to listen and what to take on; the limits are the fields of Limits."""
    for field in reversed(fields(Limits)):
        command = click.option(
            field.metadata["flag"],
            field.name,
            type=click.IntRange(0 if field.name == "waiting" else 1),
            default=field.default,
            show_default=True,
            help=field.metadata["help"],
        )(command)
    for option in reversed(_WHERE):
        command = option(command)
    return command


_WHERE = (
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=7860,
        show_default=True,
        help="0 for any that is free.",
    ),
    click.option(
        "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 for other machines too."
    ),
    click.option(
        "--token",
        envvar="FACEPAINT_TOKEN",
        metavar="TOKEN",
        help="Ask requests for it; a new one by default where other machines can reach this. "
        "Or the variable FACEPAINT_TOKEN.",
    ),
)


@cli.command()
@_server_options
@click.option("--no-open", is_flag=True, help="Do not open the page in a browser.")
@method_option
@detector_option
@weights_option
def studio(
    host: str, port: int, token: str | None, no_open: bool, method: str | None, **asked: Any
) -> None:
    """Serve the page: open a photo, move a slider, see the face change; and the HTTP service."""
    from facepaint.web import serve, studio

    bench = _bench(method, asked)
    folder = tempfile.TemporaryDirectory(prefix="facepaint-")
    with folder as own, serve.listen(host, port) as at:
        key = serve.token_for(host, token)
        app = serve.guarded(studio.create(bench, own), host, key)
        serve.run(app, at, lambda: _say(at, host, key, not no_open))


@cli.command("serve")
@_server_options
@method_option
@detector_option
@weights_option
def serve_alone(host: str, port: int, token: str | None, method: str | None, **asked: Any) -> None:
    """Serve the HTTP service alone; /openapi.json describes it."""
    from facepaint.web import serve, service

    bench = _bench(method, asked)
    with serve.listen(host, port) as at:
        key = serve.token_for(host, token)
        app = serve.guarded(service.create(bench), host, key)
        serve.run(app, at, lambda: _say(at, host, key, False))


def _bench(method: str | None, asked: dict[str, Any]) -> Bench:
    from facepaint.web.work import Bench

    detector, weights = given.detector(asked.pop("detector")), asked.pop("weights")
    return Bench(given.painter(weights, method), Limits(**asked), detector)


def _say(at: socket.socket, host: str, token: str | None, show: bool) -> None:
    """Where the server is; and opens it in a browser, where that is wanted and there is one."""
    from facepaint.web.gate import LOOPBACK

    port = at.getsockname()[1]
    if host not in LOOPBACK:
        note = (
            "other machines can reach this server, by http and not encrypted; they need the token"
        )
        click.echo(f"facepaint: {note}", err=True)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    click.echo(address)
    sys.stdout.flush()
    if show:
        import webbrowser

        webbrowser.open(address)
