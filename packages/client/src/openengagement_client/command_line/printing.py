"""Print the rows of a result as a table, CSV, NDJSON or the JSON of the wire, or write a file."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from openengagement_client.results import Result
from openengagement_client.writing import CsvFile, NdjsonFile, open_rows

Columns = dict[str, list[Any]]
_TYPE: Final = "engagement_type"


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"


def take_top(result: Result, kind: str, *, top: int | None) -> Result:
    """Keep the `top` Tweets with the most of this type, the first first.

    Without `top`, or if the grouping has no Tweets, the result stays as it is.
    """
    (name,), (group_by,) = result.groupings, result.group_by.values()
    if top is None or group_by[0] != "tweet.id":
        return result
    sums: dict[str, int] = defaultdict(int)
    for row in result.rows(name):
        if row.tweet_id is not None and row.engagement_type in (None, kind):
            sums[row.tweet_id] += row.count
    best = sorted(sums, key=lambda tweet_id: -sums[tweet_id])[:top]
    result.groupings[name] = {each: result.groupings[name][each] for each in best}
    return result


def print_rows(result: Result, *, format: Format, output: Path | None) -> None:
    """Print a result with one grouping, or write its rows to a file by the file's ending."""
    if output is not None:
        columns = result.columns()
        with open_rows(output, list(columns)) as file:
            file.add(columns)
    elif format is Format.JSON:
        print(json.dumps(_wire_object(result)))
    elif format is Format.TABLE:
        Console().print(_make_table(result.columns()))
    else:
        columns = result.columns()
        kind: type[CsvFile | NdjsonFile] = CsvFile if format is Format.CSV else NdjsonFile
        kind(sys.stdout, list(columns)).add(columns)


def _wire_object(result: Result) -> Mapping[str, Any]:
    window = {} if result.start is None else {"start": result.start, "end": result.end}
    lists = {
        "errors": result.messages,
        "unavailable_tweet_ids": result.unavailable_tweet_ids,
        "forbidden_tweet_ids": result.forbidden_tweet_ids,
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
    table = Table(*keys, *kinds)
    for column in table.columns[len(keys) :]:
        column.justify = "right"
    for key, counts in lines.items():
        table.add_row(*map(str, key), *(f"{counts.get(kind, 0):,}" for kind in kinds))
    return table
