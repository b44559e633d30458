"""Read a SNAP activity file and convert its interactions to accounts, Tweets and events.

The format is that of `higgs-activity_time.txt` in the SNAP "Higgs Twitter Dataset". A line is one
interaction, `actor target unix_seconds kind`, separated by single spaces. The kind is RT (retweet),
RE (reply) or MT (mention). The file names no Tweets, only the account that was retweeted, answered
or mentioned. Therefore every target account becomes one Tweet.
"""

import gzip
import re
import zlib
from pathlib import Path
from typing import Final

import polars as pl

from openengagement.engagement.types import HOUR_S
from openengagement.sandbox.dataset import ACCOUNTS_SCHEMA, EVENTS_SCHEMA, TWEETS_SCHEMA, Dataset

# The API has no metric for mentions.
TYPE_OF_KIND: Final = {"RT": "retweets", "RE": "replies", "MT": "other_engagements"}

ROWS_SCHEMA: Final = pl.Schema(
    {"actor": pl.Int64, "target": pl.Int64, "at": pl.Int64, "kind": pl.String}
)

_GZIP_MAGIC: Final = b"\x1f\x8b"
# A number of 18 digits always fits 63 bits.
_LINE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,18}) ([0-9]{1,18}) (RT|RE|MT)\r?")
_SHOWN_CHARACTERS: Final = 80


def read_higgs(path: Path) -> pl.DataFrame:
    """Read an activity file, plain or gzipped, into ROWS_SCHEMA (`at` in Unix s), in its order.

    The first bytes decide whether it is gzipped, not its name.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is empty or damaged, or a line is invalid; the text has its number.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path.name}: damaged gzip file: {error}") from error
    if not data.strip():
        raise ValueError(f"{path.name}: line 1: the file is empty")
    rows = _parse_columns(data)
    return rows if rows is not None else _parse_lines(data, path.name)


def _parse_columns(data: bytes) -> pl.DataFrame | None:
    """Parse the whole file at once; None if a line may be invalid, for `_parse_lines` to find."""
    try:
        rows = pl.read_csv(
            data, has_header=False, separator=" ", quote_char=None, schema=ROWS_SCHEMA
        )
    except pl.exceptions.PolarsError:
        return None
    # The parser fills short lines with null and may skip blank ones, so check for both.
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    valid = rows.select(
        pl.all_horizontal(
            pl.col("actor") > 0,
            pl.col("target") > 0,
            pl.col("at") >= 0,
            pl.col("kind").is_in(list(TYPE_OF_KIND)),
        )
        .fill_null(value=False)
        .all()
    ).item()
    return rows if valid and rows.height == lines else None


def _parse_lines(data: bytes, name: str) -> pl.DataFrame:
    """Parse line by line, to find the first invalid line."""
    lines = data.decode("utf-8", errors="replace").split("\n")
    if not lines[-1]:
        lines.pop()
    rows: list[tuple[int, int, int, str]] = []
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) == 0 or int(match[2]) == 0:
            raise ValueError(
                f"{name}: line {number}: expected 'actor target unix_seconds RT|RE|MT', "
                f"got {line[:_SHOWN_CHARACTERS]!r}"
            )
        rows.append((int(match[1]), int(match[2]), int(match[3]), match[4]))
    return pl.DataFrame(rows, schema=ROWS_SCHEMA, orient="row")


def higgs_dataset(rows: pl.DataFrame, *, ends_at_s: int | None) -> Dataset:
    """Convert interactions (ROWS_SCHEMA) to a Dataset with one event per row, in the same order.

    A target becomes an account `user_<id>` with one Tweet of the same id, posted at its first
    interaction. `ends_at_s` (Unix s) shifts all times by whole hours, so that the last event is as
    late as possible but not after it. Whole hours keep the hourly counts of the file.
    """
    shift_s = 0
    if ends_at_s is not None and rows.height:
        last_s = int(rows.select(pl.col("at").max()).item())
        shift_s = (ends_at_s - last_s) // HOUR_S * HOUR_S
    at = pl.col("at") + shift_s
    posted = rows.group_by("target", maintain_order=True).agg(at.min().alias("created_at"))
    accounts = posted.select(
        pl.col("target").alias("id"),
        pl.format("user_{}", pl.col("target")).alias("screen_name"),
        pl.lit(value=False).alias("protected"),
    )
    tweets = posted.select(
        pl.col("target").alias("id"),
        pl.col("target").alias("author_id"),
        pl.col("created_at"),
        pl.lit(None, dtype=pl.String).alias("video_id"),
    )
    events = rows.select(
        pl.col("target").alias("tweet_id"),
        pl.col("kind").replace_strict(TYPE_OF_KIND, return_dtype=pl.String).alias("type"),
        at.alias("at"),
        pl.lit(1, dtype=pl.Int64).alias("count"),
        pl.lit(value=False).alias("promoted"),
    )
    return Dataset(
        accounts=accounts.match_to_schema(ACCOUNTS_SCHEMA),
        tweets=tweets.match_to_schema(TWEETS_SCHEMA),
        events=events.match_to_schema(EVENTS_SCHEMA),
    )
