"""Show on standard error what a command waits for, and which Tweets have no counts."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from openengagement_client.checkpoints import checkpoint_path
from openengagement_client.command_line.printing import printable
from openengagement_client.results import Result

_SHORT_WAIT_S: Final = 0.5
_SHOWN: Final = 5
_REASONS: Final = {
    "unavailable_tweet_ids": "unavailable (unknown, deleted or protected)",
    "forbidden_tweet_ids": "of another author than the access token's user",
    "unsupported_for_impressions_engagements_tweet_ids": "too old for impressions and engagements",
    "unsupported_for_video_views_tweet_ids": "too old for video views",
}


class Progress:
    """Shows a bar on a terminal, and lines in a log. A quiet one shows nothing.

    `total` is the number of requests, or None if it is not known.
    """

    def __init__(self, *, is_shown: bool, total: int | None = None) -> None:
        self._is_shown = is_shown
        self._bar = rich.progress.Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("requests"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not (is_shown and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the bar, so that a result can be printed."""
        self._bar.stop()

    def count_request(self) -> None:
        """Count a request."""
        self._bar.update(self._task, advance=1, description="")

    def print_line(self, text: str) -> None:
        """Print a line, unless the command is quiet."""
        if self._is_shown:
            print(printable(text), file=sys.stderr)

    def show_wait(self, seconds: float, reason: str) -> None:
        """Show why nothing happens."""
        if seconds < _SHORT_WAIT_S:
            return
        text = printable(f"waiting {seconds:.0f} s: {reason}")
        if self._bar.disable:
            self.print_line(text)
        self._bar.update(self._task, description=text)

    def print_excluded(self, counts: Mapping[str, int]) -> None:
        """Print how many Tweets have no counts or incomplete ones, and why."""
        for name, count in counts.items():
            self.print_line(f"Tweets {_REASONS[name]}: {count:,}")

    def print_excluded_tweets(self, result: Result) -> None:
        """Print the same of a result, and name a few of the Tweets."""
        for name, reason in _REASONS.items():
            if tweet_ids := getattr(result, name):
                shown = ", ".join(tweet_ids[:_SHOWN]) + (", ..." if len(tweet_ids) > _SHOWN else "")
                self.print_line(f"Tweets {reason}: {len(tweet_ids):,} ({shown})")

    @contextmanager
    def loss_hint(self) -> Iterator[None]:
        """After Ctrl-C, print how to lose nothing the next time."""
        try:
            yield
        except KeyboardInterrupt:
            self.print_line("Nothing is kept: only a query for a file (-o) can go on (--resume).")
            raise

    @contextmanager
    def resume_hint(self, path: Path) -> Iterator[None]:
        """After an interruption, print how to go on."""
        try:
            yield
        except BaseException:
            if checkpoint_path(path).exists():
                self.print_line(f"The finished part is kept: add --resume to go on with {path}.")
            raise
