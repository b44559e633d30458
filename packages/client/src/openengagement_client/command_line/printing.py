"""Print the rows of a result as a table, CSV, NDJSON, Parquet or the JSON of the wire."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, BinaryIO, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openengagement_client.errors import InvalidQuery
from openengagement_client.results import Result
from openengagement_client.row_files import Columns, ParquetFile, write_text

_TYPE: Final = "engagement_type"
_WIDE: Final = 10_000


class Format(StrEnum):
    """The forms of a result. Those after JSON are written group by group."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


ROW_FORMATS: Final = (Format.CSV, Format.NDJSON, Format.PARQUET)


def printable(text: str) -> str:
    """Return text of a server without what would control a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def take_top(result: Result, kind: str, *, top: int | None) -> Result:
    """Keep the `top` Tweets with the most of this type, the first first.

    Raises:
        InvalidQuery: the grouping does not begin with the Tweets.
    """
    if top is None:
        return result
    (name,), (group_by,) = result.groupings, result.group_by.values()
    if group_by[0] != "tweet.id":
        raise InvalidQuery("--top needs a grouping that begins with tweet.id")
    sums: dict[str, int] = defaultdict(int)
    for row in result.rows(name):
        if row.tweet_id is not None and row.engagement_type in (None, kind):
            sums[row.tweet_id] += row.count
    best = sorted(sums, key=lambda tweet_id: -sums[tweet_id])[:top]
    result.groupings[name] = {each: result.groupings[name][each] for each in best}
    return result


def print_rows(result: Result, *, format: Format) -> None:
    """Print a result with one grouping."""
    if format is Format.JSON:
        print(json.dumps(_wire_object(result)))
    elif format is Format.TABLE:
        console = Console()
        if not console.is_terminal:  # nothing is cut off to fit into 80 columns
            console = Console(width=_WIDE)
        console.print(_make_table(result.columns()))
    elif format is Format.PARQUET:
        _write_parquet(result.columns(), sys.stdout.buffer)
    else:
        columns = result.columns()
        write_text(sys.stdout, list(columns), format=format).add(columns)


def _write_parquet(columns: Columns, file: BinaryIO) -> None:
    rows = ParquetFile(file, list(columns))
    rows.add(columns)
    rows.close()


def _wire_object(result: Result) -> Mapping[str, Any]:
    window = {} if result.start is None else {"start": result.start, "end": result.end}
    lists = {
        "errors": result.messages,
        "unavailable_tweet_ids": result.unavailable_tweet_ids,
        "forbidden_tweet_ids": result.forbidden_tweet_ids,
        "unsupported_for_impressions_engagements_tweet_ids": (
            result.unsupported_for_impressions_engagements_tweet_ids
        ),
        "unsupported_for_video_views_tweet_ids": result.unsupported_for_video_views_tweet_ids,
    }
    return {**window, **{name: found for name, found in lists.items() if found}, **result.groupings}


def _make_table(columns: Columns) -> Table:
    """Put the engagement types side by side, and everything else below each other."""
    keys = [name for name in columns if name not in (_TYPE, "count")]
    kinds = list(dict.fromkeys(columns.get(_TYPE, ["count"])))
    lines: dict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    names = columns.get(_TYPE, ["count"] * len(columns["count"]))
    key_values = zip(*(columns[name] for name in keys), strict=True) if keys else [()] * len(names)
    for key, kind, count in zip(key_values, names, columns["count"], strict=True):
        lines[key][kind] = count
    table = Table()
    for name in keys:
        table.add_column(name, overflow="fold")
    for kind in kinds:
        table.add_column(Text(printable(kind)), justify="right", overflow="fold")
    for values, counts in lines.items():
        cells = (Text(printable(str(each))) for each in values)
        table.add_row(*cells, *(f"{counts.get(kind, 0):,}" for kind in kinds))
    return table
