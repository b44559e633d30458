"""`oe query`: ask for metrics, and print or write them."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Final

import typer

from openengagement_client.client import EngagementClient
from openengagement_client.clock import ServerClock
from openengagement_client.command_line.output import Output
from openengagement_client.command_line.printing import Format
from openengagement_client.command_line.progress import Progress
from openengagement_client.credentials import load_profile
from openengagement_client.endpoints import DAY, HOUR, TWEET, TYPE
from openengagement_client.errors import InvalidQuery
from openengagement_client.planning import count_requests
from openengagement_client.queries import (
    Query,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from openengagement_client.transport import Options
from openengagement_client.tweet_files import read_tweet_ids


class EndpointName(StrEnum):
    """The endpoints by their names on the command line."""

    TOTALS = "totals"
    LAST_28_HOURS = "28hr"
    HISTORICAL = "historical"


class Unit(StrEnum):
    """Units of time to count by."""

    DAY = "day"
    HOUR = "hour"


_COUNTED_MAX: Final = 1_000_000
_DIMENSIONS: Final = {None: (), Unit.DAY: (DAY,), Unit.HOUR: (DAY, HOUR)}
# The unit of time of a plot if the command names none.
_UNITS: Final = {EndpointName.LAST_28_HOURS: Unit.HOUR, EndpointName.HISTORICAL: Unit.DAY}


def query(
    endpoint: EndpointName,
    tweet_ids: Annotated[list[str] | None, typer.Argument(help="Tweets; - reads a list")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="CSV, NDJSON, JSON or tweets.js with the Tweets"),
    ] = None,
    types: Annotated[
        str, typer.Option("--types", "-t", help="engagement types, separated by commas")
    ] = "favorites,retweets,replies",
    group_by: Annotated[str | None, typer.Option(help="dimensions, separated by commas")] = None,
    by: Annotated[Unit | None, typer.Option(help="count by day or by hour")] = None,
    start: Annotated[str | None, typer.Option(help="historical: from this time, UTC")] = None,
    end: Annotated[str | None, typer.Option(help="historical: up to this time, UTC")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="only the Tweets with the most of the first type")
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="by default a table, or the one of the file's ending")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="draw: on the terminal, or a PNG or SVG file with -o")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="write a file")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on after an interruption")] = False,
    profile: Annotated[str | None, typer.Option(help="credentials from this profile")] = None,
    app_only: Annotated[
        bool, typer.Option("--app-only", help="ask for the app alone, not for the user")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show no progress")] = False,
) -> None:
    """Print or draw the metrics of Tweets, or write them to a file.

    The URL and the credentials come from the profile, the environment or .env.
    """
    by = by or (_UNITS.get(endpoint) if plot and not group_by else None)
    dimensions = _split(group_by) if group_by else [TWEET, TYPE, *_DIMENSIONS[by]]
    kinds = _split(types)
    form = Output(output, format, plot=plot, top=top, resume=resume)
    form.check(dimensions)
    with ExitStack() as stack:
        ids = stack.enter_context(_open_ids(tweet_ids or [], file or []))
        asked = _make_query(endpoint, ids, types=kinds, group_by=dimensions, window=(start, end))
        asked, total = _count(asked)
        progress = stack.enter_context(Progress(is_shown=not quiet, total=total))
        options = Options(on_wait=progress.show_wait, on_answer=progress.count_request)
        client = stack.enter_context(_open_client(profile, app_only=app_only, options=options))
        form.produce(client, asked, progress=progress)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@contextmanager
def _open_ids(tweet_ids: list[str], files: list[Path]) -> Iterator[Iterator[str]]:
    """Open the files, and yield the ids of the arguments and of all files. `-` is standard input.

    Raises:
        InvalidQuery: there are no ids, or a file cannot be read.
    """
    given = [each for each in tweet_ids if each != "-"]
    with ExitStack() as stack:
        streams = [sys.stdin] if len(given) < len(tweet_ids) else []
        for path in files:
            try:
                streams.append(stack.enter_context(path.open(encoding="utf-8", newline="")))
            except OSError as error:
                raise InvalidQuery(f"cannot read {path}: {error.strerror}") from None
        if not given and not streams:
            raise InvalidQuery("no Tweets: name them, or give a file with -f, or a list to -")
        yield chain(given, *map(read_tweet_ids, streams))


def _make_query(
    endpoint: EndpointName,
    tweet_ids: Iterator[str],
    *,
    types: list[str],
    group_by: list[str],
    window: tuple[str | None, str | None],
) -> Query:
    groupings = {"counts": group_by}
    if endpoint is not EndpointName.HISTORICAL and any(window):
        raise InvalidQuery("--start and --end are for historical")
    if endpoint is EndpointName.TOTALS:
        return totals_query(tweet_ids, types, groupings=groupings)
    if endpoint is EndpointName.LAST_28_HOURS:
        return last_28_hours_query(tweet_ids, types, groupings=groupings)
    start, end = window
    return historical_query(tweet_ids, types, groupings=groupings, start=start, end=end)


def _count(query: Query) -> tuple[Query, int | None]:
    """Return the query, and the number of its requests unless there are very many Tweets."""
    tweet_ids = iter(query.tweet_ids)
    if not (head := list(islice(tweet_ids, _COUNTED_MAX))):
        raise InvalidQuery("no Tweets: the list is empty")
    query = replace(query, tweet_ids=chain(head, tweet_ids))
    if len(head) == _COUNTED_MAX:
        return query, None
    fixed = query.fixed(ServerClock().now()) if query.is_open_ended else query
    return query, count_requests(fixed, len(head))


def _open_client(profile: str | None, *, app_only: bool, options: Options) -> EngagementClient:
    found = load_profile(profile=profile)
    credentials = found.credentials.app_only() if app_only else found.credentials
    return EngagementClient(found.url, credentials, options=options)
