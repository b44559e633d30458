"""Fill the tables from the product's own files of Tweets and events."""

from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import tables
from sqlalchemy import Table, create_engine
from sqlalchemy.engine import URL

NOT_ENGAGEMENTS = ("impressions", "media_views", "video_views")
HOUR_S = 3600


def fill(url: URL, *, tweets: Path, events: Path, token: dict[str, Any]) -> None:
    """Create the tables, copy all rows into them, and add one app's token."""
    engine = create_engine(url.set(drivername="postgresql+psycopg"))
    tables.metadata.create_all(engine)
    hours = count_hours(pl.read_parquet(events))
    totals = hours.drop("hour").group_by("tweet_id").sum()
    authors = pl.read_parquet(tweets).select(tweet_id="id", author_id="author_id")
    with engine.begin() as connection:
        connection.execute(tables.tokens.insert(), [token])
        database = connection.connection.driver_connection
        for table, rows in (
            (tables.tweets, authors.sort("tweet_id")),
            (tables.totals, totals.sort("tweet_id")),
            (tables.hours, hours.sort("tweet_id", "hour")),
        ):
            _copy(database, table, rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def count_hours(events: pl.DataFrame) -> pl.DataFrame:
    """Count `tweet_id`, `hour` and a column per type, by the product's rules for counts above 0.

    A promoted impression does not count. `engagements` counts all types but NOT_ENGAGEMENTS.
    """
    count = pl.col("count")
    organic = (pl.col("type") != "impressions") | ~pl.col("promoted")
    columns = {
        name: pl.when((pl.col("type") == name) & organic).then(count).otherwise(0).sum()
        for name in tables.TYPES
    }
    engaged = ~pl.col("type").is_in(NOT_ENGAGEMENTS)
    columns["engagements"] = pl.when(engaged).then(count).otherwise(0).sum()
    hour = (pl.col("at").dt.epoch("s") // HOUR_S).alias("hour")
    return events.lazy().with_columns(hour).group_by("tweet_id", "hour").agg(**columns).collect()


def _copy(database: psycopg.Connection, table: Table, rows: pl.DataFrame) -> None:
    ordered = rows.select(table.columns.keys())
    with database.cursor().copy(f"COPY {table.name} FROM STDIN (FORMAT csv)") as copy:
        copy.write(ordered.write_csv(None, include_header=False).encode())
