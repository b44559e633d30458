"""The command line: `openengagement [--data DIR] COMMAND`. `lazy_group` lists the commands."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from openengagement.cli.lazy_group import LazyGroup
from openengagement.settings import DATA_VARIABLE

main = typer.Typer(
    name="openengagement",
    cls=LazyGroup,
    help="A self-hosted engagement-metrics service on the wire of Twitter's Engagement API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"openengagement {version('openengagement')}")
        raise typer.Exit


@main.callback()
def choose_folder(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option("--data", envvar=DATA_VARIABLE, file_okay=False, help="The data folder.")
    ] = Path("data"),
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A self-hosted engagement-metrics service on the wire of Twitter's Engagement API."""
    os.umask(0o077)  # only this user may read the files that a command writes
    context.obj = data
