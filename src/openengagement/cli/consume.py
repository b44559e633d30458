"""`openengagement consume`: count the events of an event log, exactly once."""

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from openengagement.cli.common import CLOCK, Json, fail, open_folder, read_settings, show
from openengagement.cli.previews import DryRun, Map, open_mapping, show_preview
from openengagement.cli.serve import check_metrics_address
from openengagement.data_folder import DataFolder
from openengagement.ingest.logs.consumer import Consumer
from openengagement.ingest.logs.consumer_progress import ConsumerProgress, Reached
from openengagement.ingest.logs.contract import LogUnusable
from openengagement.ingest.logs.dead_letters import PutLetters, write_to
from openengagement.ingest.logs.log_url import LogUrl, parse_url
from openengagement.ingest.logs.messages import MessageParser
from openengagement.ingest.logs.opening import OpenLog, open_log
from openengagement.ingest.logs.store_identity import read_identity
from openengagement.ingest.preview import Preview
from openengagement.processes.damage_notices import DamageNotices
from openengagement.processes.metrics_server import metrics_server
from openengagement.setting_kinds import parse_address
from openengagement.stores.contract import Compacts
from openengagement.telemetry import configure_log, log_event

LETTERS_FILE: Final = "dead-letters.ndjson"
_STOP_WITHIN_S: Final = 4.5
_SHOW_EVERY_S: Final = 0.5
_SAMPLE_S: Final = 10.0
_SAMPLE_MESSAGES: Final = 1000
_LOG_EVERY_S: Final = 10.0

Report = Callable[[], None]


Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="nats://HOST:4222/STREAM?subject=... or kafka://HOST:9092/TOPIC"
    ),
]
LetterFile = Annotated[
    Path | None,
    typer.Option(
        help=f"Append lines that cannot be counted to this file, by default {LETTERS_FILE} in the "
        "data folder."
    ),
]
LetterTo = Annotated[
    str, typer.Option(metavar="NAME", help="Publish them to this subject or topic instead.")
]
ContentType = Annotated[
    str, typer.Option(help="The format of messages without a Content-Type header.")
]
SkipLost = Annotated[
    bool, typer.Option(help="Continue although the log removed messages before they counted.")
]
Metrics = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Serve Prometheus metrics here, at /metrics."),
]
UntilEnd = Annotated[bool, typer.Option(help="End when every message of the log was counted.")]


def consume(
    context: typer.Context,
    url: Url,
    dead_letter_file: LetterFile = None,
    dead_letter_to: LetterTo = "",
    content_type: ContentType = "",
    skip_lost: SkipLost = False,
    until_end: UntilEnd = False,
    metrics: Metrics = None,
    map_file: Map = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Count the events of a NATS JetStream stream or a Kafka topic, each exactly once.

    The position in the log is stored with the counts, so run the command again after any
    interruption. Servers may run on the data folder meanwhile. Several consumers share a log.
    """
    parser = MessageParser(
        read_settings(),
        now_s=CLOCK.now_s,
        content_type=content_type,
        mapping=open_mapping(map_file),
    )
    progress = ConsumerProgress(CLOCK.now_s)
    notices = DamageNotices(context.obj, read_settings(), clock=CLOCK)
    try:
        parsed_url = parse_url(url)
        with (
            open_folder(context, on_damage=notices.note) as folder,
            _stopping_on_signals() as stop,
            metrics_server(_check_metrics(metrics), process="consumer"),
            closing(_open_log(parsed_url, folder, skip_lost=skip_lost, alone=dry_run)) as log,
        ):
            if dry_run:
                show_preview(_preview(log, parser, stop=stop), as_json=json)
                return
            file = dead_letter_file or context.obj / LETTERS_FILE
            put = _choose_letters(log, file=file, name=dead_letter_to)
            store = folder.stores.counters
            consumer = Consumer(log, store, parser=parser, put_letters=put, progress=progress)
            with _compacting(folder, at_end=until_end), _reporting(progress, parsed_url) as report:
                consumer.run(stop, until_end=until_end, report=report)
    except LogUnusable as error:
        fail(str(error))
    reached = progress.reached()
    fields = {name: getattr(reached, name) for name in ("messages", "events", "dead_letters")}
    show(fields, as_json=json)


def _check_metrics(address: str | None) -> str | None:
    """End the command if metrics cannot be served at this address."""
    if address is not None:
        try:
            parsed = parse_address(address)
        except ValueError as error:
            fail(f"--metrics: {error}")
        check_metrics_address(parsed, option="--metrics")
    return address


def _open_log(url: LogUrl, folder: DataFolder, *, skip_lost: bool, alone: bool) -> OpenLog:
    """Open a log. `alone` leaves the work of other consumers to them."""
    configure_log("consumer", text=read_settings().log_format == "text" or sys.stderr.isatty())
    store = folder.stores.counters
    group = f"alone-{uuid.uuid4().hex}" if alone else read_identity(store)
    return open_log(url, read_position=store.read_position, group=group, skip_lost=skip_lost)


def _preview(log: OpenLog, parser: MessageParser, *, stop: threading.Event) -> Preview:
    """Parse the next messages of a log."""
    preview, messages = Preview(), 0
    until_s = time.monotonic() + _SAMPLE_S
    while messages < _SAMPLE_MESSAGES and time.monotonic() < until_s and not stop.is_set():
        found = log.poll(_SHOW_EVERY_S)
        messages += len(found)
        for batch in parser.prepare(found):
            preview.add_counted(batch.batch.deltas, events=batch.events)
            preview.add_rejected((each.reason, each.detail) for each in batch.letters)
        if not found and log.lag() == 0:
            break
    return preview


def _choose_letters(log: OpenLog, *, file: Path, name: str) -> PutLetters:
    if not name:
        return write_to(file)
    log.verify_dead_letters(name)
    return lambda letters: log.publish(name, letters)


@contextmanager
def _compacting(folder: DataFolder, *, at_end: bool) -> Iterator[None]:
    """Compact the store in the background: perhaps no server does so. `at_end` too, and wait."""
    engines = [each for each in folder.stores.engines if isinstance(each, Compacts)]
    for engine in engines:
        engine.start_compaction()
    yield
    for engine in engines if at_end else ():
        engine.compact()


@contextmanager
def _stopping_on_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set. The process then ends within seconds."""
    stop = threading.Event()
    # A crash at any moment is safe, so a store or log that does not answer delays nothing.
    limit = threading.Timer(_STOP_WITHIN_S, os._exit, (0,))
    limit.daemon = True

    def on_signal(*_: object) -> None:
        if not stop.is_set():
            stop.set()
            limit.start()

    # In tests, the command runs in another thread, and only the main thread may handle signals.
    handles = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGTERM, signal.SIGINT] if handles else []
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _reporting(progress: ConsumerProgress, url: LogUrl) -> Iterator[Report]:
    """Show the progress on one line of a terminal, or else log it regularly."""
    log_event("consumer_started", log=url.text)
    if not sys.stderr.isatty():
        yield _every(_LOG_EVERY_S, lambda: _log(progress.reached()))
        return
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield _every(
            _SHOW_EVERY_S, lambda: live.update(_line(progress.reached(), url), refresh=True)
        )


def _every(interval_s: float, report: Report) -> Report:
    """Return what calls `report` at most once in an interval."""
    next_s = time.monotonic() + interval_s

    def maybe() -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + interval_s
            report()

    return maybe


def _log(reached: Reached) -> None:
    log_event(
        "consumed",
        messages=reached.messages,
        events=reached.events,
        dead_letters=reached.dead_letters,
        conflicts=reached.conflicts,
        repeats=reached.repeats,
        rate=reached.rate,
        lag=reached.lag,
        age_s=None if reached.age_s is None else round(reached.age_s, 1),
    )


def _line(reached: Reached, url: LogUrl) -> Text:
    """Show the figures in one line. It must fit 80 columns."""
    lag = "?" if reached.lag is None else f"{reached.lag:,}"
    age = "-" if reached.age_s is None else f"{reached.age_s:.1f} s"
    figures = f"{reached.events:,} events  {reached.rate:,}/s  lag {lag}  age {age}"
    letters = f"  dead letters {reached.dead_letters:,}" if reached.dead_letters else ""
    return Text(f"{url.name}  {figures}{letters}", no_wrap=True, overflow="ellipsis")
