"""Read the ids of Tweets from the files that people have.

These are understood, by their content: ids on lines of their own; CSV, with or without a header;
NDJSON and JSON of Tweets in the form of v1.1 or v2; and `tweets.js` of an account's archive.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, TextIO

from openengagement_client.errors import InvalidQuery

# Names of a column or field, best first. `id` of v1.1 may have been rounded by JavaScript, so
# `id_str` comes before it.
_NAMES: Final = ("tweet_id", "id_str", "id", "tweet id", "tweetid", "post id")
# The archive assigns its array to a variable.
_ARCHIVE: Final = re.compile(r"\s*window\.YTD\.\w+\.part\d+\s*=\s*")
# Fields that hold a Tweet or a list of them: in answers of v2, a search of v1.1, the archive.
_AROUND: Final = ("data", "statuses", "tweets", "tweet")
_NESTED: Final = (list, Mapping)


def read_tweet_ids(file: TextIO) -> Iterator[str]:
    """Yield the ids of a file as text. CSV and lines are read as needed, JSON as a whole.

    Raises:
        InvalidQuery: the file is JSON without ids, or CSV without a column of ids.
    """
    first = next((line for line in file if line.strip("\ufeff \t\r\n")), "").lstrip("\ufeff")
    if _ARCHIVE.match(first):
        return _from_json(_ARCHIVE.sub("", first, count=1) + file.read())
    if first.lstrip()[:1] in ("[", "{"):
        return _from_json_or_lines(first, file)
    return _from_csv(chain([first] if first else [], file))


def _from_json_or_lines(first: str, file: TextIO) -> Iterator[str]:
    try:
        tweet = json.loads(first)
    except (RecursionError, ValueError):  # an object or array over several lines
        return _from_json(first + file.read())
    if isinstance(tweet, list):
        return _ids_in(tweet)
    lines = (_loads(line) for line in file if line.strip())
    return (each for found in chain([tweet], lines) for each in _ids_in(found))


def _from_json(text: str) -> Iterator[str]:
    return _ids_in(_loads(text.rstrip().rstrip(";")))


def _loads(text: str) -> Any:  # noqa: ANN401 - JSON of any shape
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise InvalidQuery(f"the file is not JSON: {error}") from None


def _ids_in(found: object) -> Iterator[str]:
    """Yield the ids in a Tweet, a list of Tweets, or an object around them."""
    if isinstance(found, list):
        for each in found:
            yield from _ids_in(each)
    elif isinstance(found, Mapping):
        inner = next(
            (found[name] for name in _AROUND if isinstance(found.get(name), _NESTED)), None
        )
        yield from [_id_of(found)] if inner is None else _ids_in(inner)
    else:
        yield str(found)


def _id_of(tweet: Mapping[str, Any]) -> str:
    for name in _NAMES:
        if name in tweet:
            return str(tweet[name])
    raise InvalidQuery(f"there is no id in {str(dict(tweet))[:80]}")


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows that are not blank."""
    try:
        yield from (row for row in csv.reader(lines) if any(cell.strip() for cell in row))
    except csv.Error as error:
        raise InvalidQuery(f"the file is not CSV: {error}") from None


def _from_csv(lines: Iterable[str]) -> Iterator[str]:
    rows = _rows(lines)
    header = next(rows, None)
    if header is None:
        return
    names = [cell.strip().lower() for cell in header]
    column = next((names.index(name) for name in _NAMES if name in names), None)
    if column is None:
        column = next((place for place, name in enumerate(names) if name.isdecimal()), None)
        if column is None:
            raise InvalidQuery(f"none of the columns is named {' or '.join(_NAMES[:3])}: {header}")
        yield names[column]
    for row in rows:
        if len(row) > column:
            yield row[column]
