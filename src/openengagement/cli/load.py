"""`openengagement load`: load files into a data folder, with a progress bar."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from openengagement.cli.common import CLOCK, Json, fail, open_folder, read_settings, show
from openengagement.cli.previews import DryRun, Map, open_mapping, show_preview
from openengagement.ingest.preview import Preview
from openengagement.ingest.registrar import Registrar
from openengagement.ingest.sources.loader import (
    IN_FLIGHT_MAX,
    KINDS,
    FileError,
    LoadedPart,
    Loader,
    LoadProgress,
    LoadSummary,
)
from openengagement.ingest.writer import BatchWriter
from openengagement.stores.contract import Compacts
from openengagement.telemetry import log_failure


class Kind(StrEnum):
    """The kind of records in a file."""

    accounts = "accounts"
    tweets = "tweets"
    events = "events"


def load(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="The kind of records in the files.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="One or more files."),
    ],
    map_file: Map = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Load files: .ndjson .jsonl .json .csv .parquet .arrow, also with .gz or .zst.

    Rejected lines are written to FILE.rejected.ndjson with the reason. Loading the same file again
    counts nothing twice, so after an interruption simply run the command again. With another --map
    the events are other ones, and count again.
    """
    mapping = open_mapping(map_file)
    if mapping is not None and kind is not Kind.events:
        fail("--map is for events")
    with open_folder(context) as folder:
        future_max_s = read_settings().event_future_max_s
        writer = BatchWriter(
            folder.stores.counters,
            queue_max=IN_FLIGHT_MAX + 1,
            on_failure=lambda error: log_failure("commit_failed", error),
        )
        loader = Loader(
            KINDS[kind.value],
            registrar=Registrar(folder.registry, folder.stores.tweets, now_s=CLOCK.now_s),
            writer=writer,
            latest_s=lambda: CLOCK.now_s() + future_max_s,
            mapping=mapping,
        )
        try:
            if dry_run:
                _show_preview(loader, files, as_json=json)
                return
            loaded = _load(loader, files)
        finally:
            writer.close()
        for engine in folder.stores.engines:
            if isinstance(engine, Compacts):
                engine.compact()
    fields = {"accepted": loaded.accepted, "rejected": loaded.rejected}
    show(fields, as_json=json, notes=_notes(loaded))


def _show_preview(loader: Loader, files: list[Path], *, as_json: bool) -> None:
    """Show what the beginning of each file would count."""
    preview = Preview()
    try:
        for path in files:
            loader.preview(path, preview)
    except FileError as error:
        fail(str(error))
    show_preview(preview, as_json=as_json)


def _load(loader: Loader, files: list[Path]) -> LoadSummary:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn(
            "{task.percentage:>3.0f}%  {task.fields[lines]:,} lines  {task.fields[rate]:,}/s"
        ),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        size = sum(path.stat().st_size for path in files)
        task = progress.add_task(files[0].name, total=size, lines=0, rate=0)

        def on_progress(reached: LoadProgress) -> None:
            elapsed = progress.tasks[0].elapsed or 0
            progress.update(
                task,
                description=reached.path.name,
                completed=reached.read_bytes,
                lines=reached.lines,
                rate=int(reached.lines / elapsed) if elapsed else 0,
            )

        try:
            return loader.load(files, on_progress)
        except FileError as error:
            fail(f"{error}. {_advice(error.loaded)}")


def _advice(loaded: LoadedPart) -> str:
    again = "run the same command again: nothing counts twice"
    if loaded.last is None:
        return f"Once the server can store it, {again}"
    if not loaded.last:
        return f"Nothing of this file was loaded. Remove the cause, and {again}"
    done = f"{loaded.unit.capitalize()} 1 to {loaded.last} of this file were loaded, and no others."
    if not loaded.whole_key:
        return f"{done} Correct the fault, change nothing before it, and {again}"
    return (
        f"{done} If the file is good, {again}. Otherwise load the other rows from a file of their "
        "own: from a corrected copy of this file, the loaded rows would count again"
    )


def _notes(total: LoadSummary) -> tuple[str, ...]:
    notes = []
    if total.repeated:
        notes.append(
            f"{total.repeated:,} of the accepted lines were loaded before and are counted once."
        )
    if total.rejected:
        reasons = ", ".join(
            f"{reason} {count:,}" for reason, count in sorted(total.reasons.items())
        )
        notes.append(f"Rejected lines are in FILE.rejected.ndjson: {reasons}.")
    if total.ignored_fields:
        names = ", ".join(f"{name!r} {count:,}" for name, count in total.ignored_fields.items())
        notes.append(f"Fields that are not read, and the accepted lines with them: {names}.")
    if total.unknown_authors:
        notes.append(
            f"{total.unknown_authors:,} authors are not registered; their Tweets stay unavailable "
            "until `load accounts` registers them."
        )
    return tuple(notes)
