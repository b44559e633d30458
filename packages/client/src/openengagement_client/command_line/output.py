"""What `oe query` makes of the metrics: a file of rows, a picture, a table or other text."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console

from openengagement_client.checkpoints import partial_path
from openengagement_client.client import EngagementClient
from openengagement_client.command_line.plotting import (
    PICTURES,
    draw_picture,
    draw_text,
    make_chart,
)
from openengagement_client.command_line.printing import ROW_FORMATS, Format, print_rows, take_top
from openengagement_client.command_line.progress import Progress
from openengagement_client.endpoints import TWEET
from openengagement_client.errors import ConfigurationError, InvalidQuery
from openengagement_client.queries import Query
from openengagement_client.results import Result
from openengagement_client.row_files import open_rows, row_format

_TEXTS: Final = {".json": Format.JSON, ".txt": Format.TABLE}


@dataclass(frozen=True, slots=True)
class Output:
    """The file and the form that the command line names. Without a path it is standard output."""

    path: Path | None
    format: Format | None
    plot: bool
    top: int | None
    resume: bool

    def check(self, dimensions: list[str]) -> None:
        """Find mistakes before anything is requested.

        Raises:
            InvalidQuery: the options contradict each other, or the folder does not exist.
            ConfigurationError: a library is not installed.
        """
        if self.plot:
            self._check_plot()
        elif self.path is not None and self.path.suffix in PICTURES:
            raise InvalidQuery(f"add --plot to draw {self.path}")
        if self.path is not None and not self.path.parent.is_dir():
            raise InvalidQuery(f"there is no folder {self.path.parent}")
        if not self.plot and self._format is Format.PARQUET:
            _require("pyarrow", "frames")
            if self.path is None and sys.stdout.isatty():
                raise InvalidQuery("Parquet is not text: name a file with -o, or use a pipe")
        if self.top is not None and dimensions[:1] != [TWEET]:
            raise InvalidQuery(f"--top needs a grouping that begins with {TWEET}")
        if self.resume and not self._is_streamed(dimensions):
            raise InvalidQuery("--resume goes on with a CSV or NDJSON file: name it with -o")

    def produce(self, client: EngagementClient, query: Query, *, progress: Progress) -> None:
        """Run the query, and print, draw or write its metrics.

        Raises:
            EngagementError: as `errors.py` says.
            OSError: the file cannot be written.
        """
        (dimensions,) = query.groupings.values()
        if self.path is not None and self._is_streamed(list(dimensions)):
            with progress.resume_hint(self.path):
                summary = client.write(query, self.path, format=self._format, resume=self.resume)
            progress.stop()
            progress.print_excluded(summary.excluded)
            return
        with progress.loss_hint():
            result = client.run(query)
        progress.stop()
        progress.print_excluded_tweets(result)
        result = take_top(result, query.engagement_types[0], top=self.top)
        if self.plot:
            self._draw(result, progress)
        elif self.path is not None:
            self._write(result, self.path)
        else:
            print_rows(result, format=self._format)

    @property
    def _format(self) -> Format:
        if self.format is not None or self.path is None:
            return self.format or Format.TABLE
        return _TEXTS.get(self.path.suffix) or Format(row_format(self.path, None))

    def _is_streamed(self, dimensions: list[str]) -> bool:
        """Tell whether the rows are written group by group."""
        is_rows = self.path is not None and not self.plot and self._format in ROW_FORMATS
        return is_rows and self.top is None and TWEET in dimensions

    def _check_plot(self) -> None:
        if self.format is not None:
            raise InvalidQuery("--plot draws: leave --format out")
        if self.path is not None and self.path.suffix not in PICTURES:
            raise InvalidQuery(f"{self.path.name} must end with one of {', '.join(PICTURES)}")
        _require("plotille" if self.path is None else "matplotlib", "plot")

    def _draw(self, result: Result, progress: Progress) -> None:
        chart = make_chart(result)
        if chart.dropped:
            progress.print_line(f"{chart.dropped} more Tweets are not drawn: choose with --top")
        if self.path is None:
            draw_text(chart, Console())
        else:
            draw_picture(chart, self.path)

    def _write(self, result: Result, path: Path) -> None:
        if self._format in ROW_FORMATS:
            columns = result.columns()
            with open_rows(path, list(columns), format=self._format) as file:
                file.add(columns)
            return
        partial = partial_path(path)
        with partial.open("w", encoding="utf-8") as text, redirect_stdout(text):
            print_rows(result, format=self._format)
        partial.replace(path)


def _require(module: str, extra: str) -> None:
    """Check that an optional library is installed.

    Raises:
        ConfigurationError: it is not.
    """
    if find_spec(module) is None:
        raise ConfigurationError(
            f"this needs {module}: pip install 'openengagement-client[{extra}]'"
        )
