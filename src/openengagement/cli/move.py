"""`openengagement move`: move everything to other stores while servers run."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from openengagement.cli.common import (
    CLOCK,
    Json,
    Yes,
    confirm,
    fail,
    failures_shown,
    read_settings,
    show,
)
from openengagement.moving.mover import Moved, Mover, OnStage, release_side
from openengagement.moving.sides import CLUSTER, open_source, open_target
from openengagement.moving.tally import OnCompared, Pace
from openengagement.tuning import lower_priority

_RATE_MAX: Final = 100_000_000
_SIGNAL_CODE: Final = 128  # a shell reports the end by a signal as this and its number
_NEXT: Final = (
    "The source still takes events. Run the same command with --switch to copy the rest and to "
    "switch."
)
_DONE: Final = (
    "Every total and hour of every Tweet was compared and is equal. The source answers no request "
    "any more. Start the servers of the target, and direct clients to them."
)
_ALREADY: Final = "This move was completed before. Nothing was changed."
_QUESTION: Final = (
    "Events that the target has counted since a switch stay there alone. Open {} again?"
)


def move(
    source: Annotated[
        str, typer.Option("--from", metavar="PLACE", help="A data folder, or `cluster`.")
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="A data folder, or `cluster`.")
    ] = "",
    switch: Annotated[
        bool, typer.Option("--switch", help="Seal the source, copy the rest, and check all of it.")
    ] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Only open a source again that was sealed.")
    ] = False,
    rate: Annotated[
        int,
        typer.Option(
            min=0, max=_RATE_MAX, help="Counters a second before the switch; 0: no limit."
        ),
    ] = 0,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Move everything from a data folder to a cluster, or back. Servers of the source may run.

    `cluster` stands for the databases of OPENENGAGEMENT_STORE and OPENENGAGEMENT_REGISTRY. Run the
    same command again after an interruption: nothing counts twice.
    """
    _refuse(source, target, release=release)
    lower_priority()
    with failures_shown(Path(source)), _ending_on_signal():
        if release:
            confirm(_QUESTION.format(source), yes=yes)
            with closing(open_source(source, read_settings(), clock=CLOCK)) as side:
                release_side(side)
            show({"released": source}, as_json=json)
            return
        moved = _move(source, target, switch=switch, rate=rate)
    note = _NEXT if not moved.switched else _DONE if moved.tally else _ALREADY
    show(_fields(moved), as_json=json, notes=(note,))


def _refuse(source: str, target: str, *, release: bool) -> None:
    if release:
        return
    if not target:
        fail("name the other place with --to")
    if target == source or (
        CLUSTER not in {source, target} and Path(source).resolve() == Path(target).resolve()
    ):
        fail("--from and --to are the same place")


def _move(source: str, target: str, *, switch: bool, rate: int) -> Moved:
    settings = read_settings()
    with (
        closing(open_source(source, settings, clock=CLOCK)) as before,
        closing(open_target(target, settings, source=before, clock=CLOCK)) as after,
        _progress() as (on_stage, on_compared),
    ):
        mover = Mover(before, after, pace=Pace(rate), on_stage=on_stage, on_compared=on_compared)
        return mover.move(switch=switch, body_timeout_s=settings.body_timeout_s)


@contextmanager
def _progress() -> Iterator[tuple[OnStage, OnCompared]]:
    """Show the stage, how much of it is done, and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.completed:,.0f} compared"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("opening", total=None)

        def begin(stage: str, total: int) -> None:
            progress.reset(task, description=stage, total=total)

        yield begin, lambda _, rows: progress.advance(task, rows)


@contextmanager
def _ending_on_signal() -> Iterator[None]:
    """End the command on SIGTERM and SIGHUP as on an error, so that it opens the source again.

    A shell that loses its terminal often sends SIGHUP twice, so a signal that follows does nothing.
    """
    if threading.current_thread() is not threading.main_thread():  # in tests
        yield
        return

    def end(number: int, _: object) -> NoReturn:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(_SIGNAL_CODE + number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    heard = [each for each in numbers if signal.getsignal(each) != signal.SIG_IGN]  # as of nohup
    before = {each: signal.signal(each, end) for each in heard}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _fields(moved: Moved) -> dict[str, object]:
    """Return the result as `--json` prints it. Times are in seconds."""
    fields: dict[str, object] = {"switched": moved.switched, "passes": moved.passes}
    if moved.tally is not None:
        compared, found = moved.tally.compared, moved.tally.differing
        kinds = ("tweets", "counters", "keys")
        fields |= {f"{kind}_compared": compared[kind] for kind in kinds}
        fields["differences"] = sum(found.values())
    if moved.switched and moved.tally is not None:
        fields |= {"sealed_s": round(moved.sealed_s, 1), "closed_s": round(moved.closed_s, 1)}
    return fields
