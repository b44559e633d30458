"""`--map` and `--dry-run`, which several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from openengagement.cli.common import fail, show
from openengagement.files import UnusableFile
from openengagement.ingest.mapping.map_file import Mapping, read_mapping
from openengagement.ingest.preview import Preview

Map = Annotated[
    Path | None,
    typer.Option("--map", metavar="FILE", help="A file that says how your own rows become events."),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what a sample would count, and store nothing."),
]


def open_mapping(path: Path | None) -> Mapping | None:
    """Read a mapping, None without one. End the command if it is wrong."""
    if path is None:
        return None
    try:
        return read_mapping(path)
    except UnusableFile as error:
        fail(str(error))


def show_preview(preview: Preview, *, as_json: bool) -> None:
    """Print what a sample would count."""
    summary = preview.summary()
    if not as_json:
        summary = {name: summary[name] for name in ("accepted", "rejected")}
    show(summary, as_json=as_json, notes=preview.notes())
