"""`openengagement check`: verify all files of a data folder."""

from contextlib import closing
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from openengagement.cli.common import (
    Json,
    failures_shown,
    now_s,
    open_folder,
    read_settings,
    refuse_missing_folder,
    show,
)
from openengagement.damage import Inspection
from openengagement.data_folder import measure_disk
from openengagement.engagement.types import format_time
from openengagement.ingest.sources.counting_listener import is_listening, list_sockets
from openengagement.limits.opening import check_limits
from openengagement.registry.notifications import Fault
from openengagement.registry.opening import check_registry, open_registry
from openengagement.settings import REGISTRY_FILE
from openengagement.stores.opening import check_stores
from openengagement.tuning import lower_priority


def check(context: typer.Context, json: Json = False) -> None:
    """Verify every file of the data folder. Servers may be running.

    Exits with 1 if something is damaged, or was made by another version of the server, and says
    what can be done. Counters are verified by their checksums. SQLite has no checksums, so only the
    structure of the databases is verified.
    """
    lower_priority()
    data: Path = context.obj
    refuse_missing_folder(data)
    inspection = inspect_folder(data)
    if not inspection.damaged and not inspection.outdated:  # opening would upgrade older files
        with open_folder(context):  # its files fit together, or this ends the command
            pass
    jumps = [
        {"noticed_by": noticed_by, "from": format_time(int(from_s)), "to": format_time(int(to_s))}
        for noticed_by, from_s, to_s in inspection.clock_jumps
    ]
    fields: dict[str, object] = {
        "files": inspection.files,
        "segments_without_checksums": inspection.without_checksums,
        "clock_jumps": jumps if json else len(jumps),
        "outdated": msgspec.to_builtins(inspection.outdated) if json else len(inspection.outdated),
        "damaged": msgspec.to_builtins(inspection.damaged) if json else len(inspection.damaged),
    }
    _notify_managers(data, inspection)
    show(fields, as_json=json, notes=_notes(inspection, jumps))
    if inspection.damaged or inspection.outdated:
        raise typer.Exit(1)


def inspect_folder(data: Path) -> Inspection:
    """Verify every file of a data folder, and show the progress."""
    size, settings = measure_disk(data).data_bytes, read_settings()
    columns = (
        TextColumn("checking"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("check", total=size)
        inspection = Inspection(lambda done: progress.advance(task, done))
        with failures_shown(data):
            check_stores(data, settings, inspection=inspection)
        if not settings.registry:  # otherwise PostgreSQL has both
            check_registry(data, inspection)
            check_limits(data, inspection)
        progress.update(task, completed=size)
    return inspection


def _notify_managers(data: Path, inspection: Inspection) -> None:
    """Notify managers of the damage, if a server runs on the folder. It sends what this writes."""
    found = [Fault(each.file, each.reason) for each in inspection.damaged]
    is_readable = all(each.file != REGISTRY_FILE for each in inspection.damaged)
    if found and is_readable and any(map(is_listening, list_sockets(data))):
        url, at_s = read_settings().registry, now_s()
        with failures_shown(data), closing(open_registry(data, url)) as registry:
            registry.notifications.note_damage(found, day=format_time(at_s)[:10], now_s=at_s)


def _notes(inspection: Inspection, jumps: list[dict[str, str]]) -> tuple[str, ...]:
    notes = [
        f"{each.file} is damaged: {each.reason}. {each.remedy}." for each in inspection.damaged
    ]
    notes += [
        f"{each.file} was not verified: {each.reason}. {each.remedy}."
        for each in inspection.outdated
    ]
    notes += [
        f"The clock was set from {jump['from']} to {jump['to']} (noticed by the record of "
        f"{jump['noticed_by']})."
        for jump in jumps
    ]
    if inspection.without_checksums:
        notes.append(
            "Segments of an older version have no checksums until they are merged. Their order and "
            "limits were checked."
        )
    return tuple(notes)
