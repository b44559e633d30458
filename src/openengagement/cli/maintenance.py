"""`openengagement backup` and `openengagement prune`."""

import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from openengagement.cli.common import (
    Json,
    fail,
    failures_shown,
    now_s,
    open_folder,
    refuse_missing_folder,
    show,
)
from openengagement.data_folder import KEY_FILE, DataFolder, note_backup
from openengagement.engagement.types import DAY_S, HOUR_S, format_time, hour_of
from openengagement.errors import StoreUnavailable
from openengagement.files import copy_private, sync_folder
from openengagement.stores.contract import Copies, Prunes
from openengagement.stores.inventory import Moves
from openengagement.tuning import lower_priority

_DAYS_MAX: Final = 36_500


def backup(
    context: typer.Context,
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", file_okay=False, help="The folder to create, or an empty one."
        ),
    ],
    json: Json = False,
) -> None:
    """Copy the data folder as it is at this moment. Servers may be running.

    A server can start on the copy as on the original. The copy includes the key file if there is
    one, so anyone who has the copy can decrypt its secrets.
    """
    with failures_shown(target):
        if target.exists() and any(target.iterdir()):
            fail(f"{target} is not empty; choose an empty folder, or one that does not exist yet")
    data: Path = context.obj
    refuse_missing_folder(data)
    partial = target.with_name(f"{target.name}.partial")
    with open_folder(context, existing=True) as folder:
        try:
            _copy(folder, data, target=partial)
            if target.exists():
                target.rmdir()
            partial.rename(target)
            note_backup(data)
        except (OSError, StoreUnavailable) as error:
            shutil.rmtree(partial, ignore_errors=True)
            fail(f"{target}: {error}; nothing was copied")
    size = sum(512 * path.stat().st_blocks for path in target.rglob("*"))
    show({"folder": str(target), "bytes": size}, as_json=json)


def _copy(folder: DataFolder, data: Path, *, target: Path) -> None:
    parts: dict[str, object] = {"registry's database": folder.registry.database}
    parts |= {f"{engine.name} store": engine for engine in folder.stores.engines}
    copies = [part for part in parts.values() if isinstance(part, Copies)]
    if missing := [name for name, part in parts.items() if part not in copies]:
        fail(f"the {missing[0]} cannot be copied; back it up with its own tools")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700, parents=True)
    for part in copies:
        part.copy_to(target)
    if (data / KEY_FILE).exists():
        copy_private(data / KEY_FILE, target / KEY_FILE)
    sync_folder(target)


def prune(
    context: typer.Context,
    days: Annotated[
        int, typer.Option("--older-than-days", min=1, max=_DAYS_MAX, help="Keep this many days.")
    ],
    json: Json = False,
) -> None:
    """Delete hourly counts that are older than the given days; keep totals. Servers may be running.

    Run it daily, with at least the number of days that your authors and their apps look back.
    """
    lower_priority()
    oldest_hour = hour_of(now_s() - days * DAY_S)
    with open_folder(context, existing=True) as folder:
        counters = folder.stores.counters
        if not isinstance(counters, Prunes):
            fail(f"the {counters.name} store cannot prune; let it expire old hours by itself")
        if isinstance(counters, Moves) and counters.inventory().is_sealed():
            fail(f"{context.obj} is being moved, or was moved, to other stores; do not prune it")
        pruned = counters.prune(oldest_hour=oldest_hour)
    since = format_time(oldest_hour * HOUR_S)
    show({"pruned_counters": pruned, "kept_since": since}, as_json=json)
