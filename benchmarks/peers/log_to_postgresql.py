"""A consumer of NATS JetStream that upserts into PostgreSQL: what a platform might write itself.

Arguments: URL of NATS, connection string, number of messages. It parses and sums a batch of
messages with Polars, copies it to a staging table and upserts it, in one transaction with the
position. It prints the seconds from its first message to its last commit, and its CPU time.
"""

import asyncio
import io
import json
import sys
import time

import nats
import polars as pl
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig

BATCH_MESSAGES = 200
TABLES = """
CREATE TABLE counters (
    tweet_id bigint, hour bigint, type text, n bigint NOT NULL, PRIMARY KEY (tweet_id, hour, type)
);
CREATE TABLE position (sequence bigint NOT NULL);
INSERT INTO position VALUES (0);
CREATE TEMPORARY TABLE staged (tweet_id bigint, hour bigint, type text, n bigint)
    ON COMMIT DELETE ROWS
"""
UPSERT = """
INSERT INTO counters SELECT * FROM staged ORDER BY tweet_id, hour, type
ON CONFLICT (tweet_id, hour, type) DO UPDATE SET n = counters.n + excluded.n
"""
SCHEMA = {"tweet_id": pl.String, "type": pl.String, "at": pl.String}


def fold(bodies: list[bytes]) -> bytes:
    events = pl.read_ndjson(io.BytesIO(b"".join(bodies)), schema=SCHEMA)
    hour = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("s") // 3600
    rows = events.group_by(pl.col("tweet_id").cast(pl.Int64), hour.alias("hour"), "type").len()
    return rows.write_csv(None, include_header=False).encode()


def apply(db: psycopg.Connection, rows: bytes, *, after: int, reached: int) -> None:
    with db.transaction():
        with db.cursor() as cursor, cursor.copy("COPY staged FROM STDIN (FORMAT csv)") as copy:
            copy.write(rows)
        db.execute(UPSERT)
        move = "UPDATE position SET sequence = %s WHERE sequence = %s"
        if db.execute(move, (reached, after)).rowcount != 1:
            raise RuntimeError("another consumer has moved the position")


async def consume(url: str, db: psycopg.Connection, messages: int) -> float:
    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.NONE)
    pull = await client.jetstream().pull_subscribe("events", config=config)
    began = time.perf_counter()
    reached = 0
    while messages:
        found = await pull.fetch(min(BATCH_MESSAGES, messages), timeout=10)
        messages -= len(found)
        after, reached = reached, found[-1].metadata.sequence.stream
        if rows := fold([each.data for each in found if each.data]):
            apply(db, rows, after=after, reached=reached)
    await client.close()
    return time.perf_counter() - began


def main() -> None:
    url, database, messages = sys.argv[1:]
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(TABLES)
        wall_s = asyncio.run(consume(url, db, int(messages)))
        ((events,),) = db.execute("SELECT sum(n)::bigint FROM counters").fetchall()
    print(json.dumps({"wall_s": wall_s, "cpu_s": time.process_time(), "events": events}))


if __name__ == "__main__":
    main()
