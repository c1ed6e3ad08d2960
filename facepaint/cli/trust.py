"""The command that reads marks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from facepaint.cli.group import cli


@cli.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for scripts.")
def inspect(file: str, as_json: bool) -> None:
    """Say whether and how FILE (a photo, MP4 or MOV) was edited by FacePaint, as its marks tell."""
    from facepaint.inspection import inspect as look

    found = look(Path(file))
    if as_json:
        click.echo(json.dumps({"file": file} | found.document()))
        return
    first, *rest = found.lines()
    click.echo(f"{file}: {first}")
    for line in rest:
        click.echo(f"  {line}")
