"""The group that every command joins."""

from __future__ import annotations

import click

from facepaint._version import __version__


class Group(click.Group):
    """Commands in the order in which they are written, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="facepaint %(version)s")
def cli() -> None:
    """Change the expression of faces in photos, at the photo's own resolution."""
