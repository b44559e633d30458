"""Reads a SNAP activity file and turns its interactions into accounts, Tweets and events.

The format is that of `higgs-activity_time.txt` of the SNAP "Higgs Twitter Dataset": one interaction
a line, `actor target unix_seconds kind`, separated by single spaces, where kind is RT (retweet), RE
(reply) or MT (mention). The file names no Tweets, only the account that was retweeted, answered or
mentioned, so every target account stands for one Tweet of its own.
"""

import gzip
import re
import zlib
from pathlib import Path
from typing import Final

import polars as pl

from openengagement.engagement.types import HOUR_S
from openengagement.sandbox.dataset import ACCOUNTS_SCHEMA, EVENTS_SCHEMA, TWEETS_SCHEMA, Dataset

# A mention is an interaction without a metric of its own on the wire.
TYPE_OF_KIND: Final = {"RT": "retweets", "RE": "replies", "MT": "other_engagements"}

ROWS_SCHEMA: Final = pl.Schema(
    {"actor": pl.Int64, "target": pl.Int64, "at": pl.Int64, "kind": pl.String}
)

_GZIP_MAGIC: Final = b"\x1f\x8b"
# 18 digits always fit a positive 63-bit integer.
_LINE: Final = re.compile(r"([0-9]{1,18}) ([0-9]{1,18}) ([0-9]{1,18}) (RT|RE|MT)\r?")
_SHOWN_CHARACTERS: Final = 80


def read_higgs(path: Path) -> pl.DataFrame:
    """Read an activity file, plain or gzipped, into actor, target, at (Unix s), kind; order kept.

    Whether it is gzipped is read from its first bytes, not from its name. A bad line is a
    ValueError that names the line's number, as is a damaged or empty file.
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
    """Parse the whole file at once; None when anything is odd, for `_parse_lines` to judge."""
    try:
        rows = pl.read_csv(
            data, has_header=False, separator=" ", quote_char=None, schema=ROWS_SCHEMA
        )
    except pl.exceptions.PolarsError:
        return None
    # The parser fills short lines with null and may skip blank ones, so both are checked here.
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    sound = rows.select(
        pl.all_horizontal(
            pl.col("actor") > 0,
            pl.col("target") > 0,
            pl.col("at") >= 0,
            pl.col("kind").is_in(list(TYPE_OF_KIND)),
        )
        .fill_null(value=False)
        .all()
    ).item()
    return rows if sound and rows.height == lines else None


def _parse_lines(data: bytes, name: str) -> pl.DataFrame:
    """Parse line by line, so that the first bad line can be named."""
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
    """Turn interactions (actor, target, at, kind) into a Dataset: an event a row, in their order.

    Each target is an account `user_<id>` with one Tweet of the same id, posted at its first
    interaction. With `ends_at_s` (Unix s) everything moves by the largest whole number of hours
    that leaves the last event not after it. Whole hours keep every hour's events together, so
    hourly counts stay those of the file.
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
        pl.lit(None, dtype=pl.Int64).alias("video_id"),
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
