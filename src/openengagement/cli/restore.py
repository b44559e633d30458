"""`openengagement restore`: copy a backup into an empty data folder."""

import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from openengagement.cli.check import inspect_folder
from openengagement.cli.common import (
    Json,
    fail,
    failures_shown,
    open_folder,
    refuse_shared_registry,
    show,
)
from openengagement.data_folder import KEY_FILE, NOT_OURS, RESTORING
from openengagement.files import copy_private, make_folder, sync_folder, write_private
from openengagement.settings import REGISTRY_FILE
from openengagement.stores.opening import COUNTERS_FILE

_SEGMENTS: Final = "counters.segments/*.segment"
_LOGS: Final = ("", "-wal")  # a copy of a killed server's folder is complete only with its logs
_NOTE: Final = (
    "A backup does not contain the used nonces: a request that was signed shortly before could be "
    "served once more while its timestamp is valid."
)


def restore(
    context: typer.Context,
    backup: Annotated[
        Path,
        typer.Argument(
            metavar="BACKUP",
            exists=True,
            file_okay=False,
            help="A folder that `backup` made, or a copy of a stopped server's data folder.",
        ),
    ],
    json: Json = False,
) -> None:
    """Copy a backup into the data folder, which must be empty or missing, and verify the copy."""
    refuse_shared_registry("restore")
    data: Path = context.obj
    with failures_shown(data):
        if data.exists() and {path.name for path in data.iterdir()} - NOT_OURS:
            fail(
                f"{data} is not empty; a backup is restored into an empty folder only. Move its "
                "files to another place, or choose another folder with --data"
            )
    for name in (REGISTRY_FILE, COUNTERS_FILE):
        if not (backup / name).is_file():
            fail(f"{backup} is not a complete backup: it has no {name}. Nothing was restored")
    make_folder(data)
    marker = write_private(data / RESTORING, b"")
    try:
        _copy(backup, data)
        with open_folder(context, restoring=True):  # its files fit together, or this fails
            pass
        if damaged := inspect_folder(data).damaged:
            fail(f"{backup}: {damaged[0].file} is damaged: {damaged[0].reason}")
    except BaseException as error:
        _empty(data)
        if isinstance(error, OSError):
            fail(f"{error.filename or data}: {error.strerror or error}. Nothing was restored")
        if isinstance(error, typer.Exit):
            typer.echo("Nothing was restored.", err=True)
        raise
    marker.unlink()
    sync_folder(data)
    size = sum(512 * path.stat().st_blocks for path in data.rglob("*"))
    show({"folder": str(data), "bytes": size}, as_json=json, notes=(_NOTE,))


def _copy(backup: Path, data: Path) -> None:
    """Copy the files of a data folder. Locks, limits and sockets belong to the old server."""
    names = [f"{name}{log}" for name in (REGISTRY_FILE, COUNTERS_FILE) for log in _LOGS]
    files = [backup / name for name in (KEY_FILE, *names)]
    files += sorted(backup.glob(_SEGMENTS))
    make_folder(data / Path(_SEGMENTS).parent)
    for file in files:
        if file.exists():
            copy_private(file, data / file.relative_to(backup))
    sync_folder(data / Path(_SEGMENTS).parent)
    sync_folder(data)


def _empty(data: Path) -> None:
    """Remove what was restored to a folder that was empty. The marker is removed last."""
    marker = data / RESTORING
    for path in data.iterdir():
        if path.is_dir() and path.name not in NOT_OURS:
            shutil.rmtree(path)
        elif path.is_file() and path != marker:
            path.unlink()
    marker.unlink(missing_ok=True)
