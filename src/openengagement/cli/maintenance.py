"""`openengagement backup` and `prune`: a copy of the data folder, and less of it."""

import shutil
import sqlite3
from pathlib import Path
from typing import Annotated, Final

import typer

from openengagement.cli.common import Json, fail, now_s, opened, show
from openengagement.data_folder import KEY_FILE, DataFolder
from openengagement.engagement.types import DAY_S, HOUR_S, format_time, hour_of
from openengagement.stores.contract import Copies, Prunes
from openengagement.tuning import lower_priority

_DAYS_MAX: Final = 36_500


def backup(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(file_okay=False, help="Where to; it must not exist yet, or be empty.")
    ],
    json: Json = False,
) -> None:
    """Copy the data folder as it is at this moment, while servers run or not.

    A server starts on the copy as on the original. It holds the key file, if there is one, so
    whoever has the copy can read every secret in it.
    """
    if folder.exists() and any(folder.iterdir()):
        fail(f"{folder} is not empty; name a folder that is, or that does not exist yet")
    data: Path = context.obj
    if not data.is_dir():
        fail(f"{data} is no folder; name the data folder with --data")
    partial = folder.with_name(f"{folder.name}.partial")
    with opened(context) as parts:
        try:
            _copy(parts, data, folder=partial)
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
        except (OSError, sqlite3.Error) as error:
            shutil.rmtree(partial, ignore_errors=True)
            fail(f"{folder}: {error}; nothing was copied")
    size = sum(512 * path.stat().st_blocks for path in folder.rglob("*"))
    show({"folder": str(folder), "bytes": size}, as_json=json)


def _copy(parts: DataFolder, data: Path, *, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    parts.registry.copy_to(folder)
    for engine in parts.stores.engines:
        if not isinstance(engine, Copies):
            fail(f"the {engine.name} store cannot be copied; back it up with its own tools")
        engine.copy_to(folder)
    if (data / KEY_FILE).exists():
        shutil.copy2(data / KEY_FILE, folder / KEY_FILE)


def prune(
    context: typer.Context,
    days: Annotated[
        int,
        typer.Option("--older-than-days", min=1, max=_DAYS_MAX, help="Keep the hours since then."),
    ],
    json: Json = False,
) -> None:
    """Forget hourly counts from before so many days; totals stay, while servers run or not.

    Run it daily, with at least the days that your authors and their apps look back.
    """
    lower_priority()
    oldest_hour = hour_of(now_s() - days * DAY_S)
    with opened(context) as parts:
        counters = parts.stores.counters
        if not isinstance(counters, Prunes):
            fail(f"the {counters.name} store cannot prune; let it expire old hours by itself")
        pruned = counters.prune(oldest_hour=oldest_hour)
    since = format_time(oldest_hour * HOUR_S)
    show({"pruned_counters": pruned, "kept_since": since}, as_json=json)
