"""Turn a SNAP activity file into the platform API's NDJSON: accounts, Tweets and events.

    python examples/higgs/convert.py higgs-activity_time.txt.gz out --ends-at 2026-11-22T12:00:00Z

`--ends-at` moves the week in time by whole hours, so that its last event is not after that time.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from openengagement.sandbox.higgs import higgs_dataset, read_higgs


def read_time(text: str) -> int:
    """Read an ISO 8601 time as Unix seconds; one without an offset is UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def wire_time(column: str) -> pl.Expr:
    """Write Unix seconds as the wire does, `YYYY-MM-DDTHH:MM:SSZ`."""
    return pl.from_epoch(column).dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias(column)


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert an activity file to NDJSON.")
    parser.add_argument("file", type=Path)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--ends-at", type=read_time, default=None, metavar="ISO")
    arguments = parser.parse_args()
    try:
        rows = read_higgs(arguments.file)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot read the file: {error}")
    dataset = higgs_dataset(rows, ends_at_s=arguments.ends_at)
    # IDs are strings on the wire, since JavaScript cannot hold 63 bits in a number.
    frames = {
        "accounts": dataset.accounts.with_columns(pl.col("id").cast(pl.String)),
        "tweets": dataset.tweets.select(
            pl.col("id", "author_id").cast(pl.String), wire_time("created_at")
        ),
        "events": dataset.events.select(
            pl.col("tweet_id").cast(pl.String), "type", wire_time("at"), "count", "promoted"
        ),
    }
    arguments.outdir.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        path = arguments.outdir / f"{name}.ndjson"
        frame.write_ndjson(path)
        print(f"{path}: {frame.height} lines")


if __name__ == "__main__":
    main()
