"""The ledger in PostgreSQL: used idempotency keys, positions of sources, and flights.

A flight is a commit that is under way from PostgreSQL to ClickHouse. It is recorded with everything
that ClickHouse must insert, in the transaction that records the keys. It is removed once every
shard has its block. Any server completes a flight that outlives its lease.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import zstandard

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.cells import holds, without
from openengagement.stores.cluster.tables import FLIGHT_DAYS_MAX
from openengagement.stores.contract import Answer, Applied, Batch, KeyConflict, PositionConflict

Connection = psycopg.Connection[Any]

# Advisory locks, held until a transaction ends. The numbers are arbitrary. Commits that count views
# share the first lock; a commit that changes videos of Tweets holds it exclusively. A commit for
# Tweets whose counters could become too large holds the second lock exclusively.
_VIDEOS_LOCK: Final = 7_106_906
_LARGE_LOCK: Final = 7_106_909
DELETION_LOCK: Final = 7_106_910  # of the server that erases counters of deleted Tweets
ERASURE_LOCK: Final = 7_106_911  # of an erasure of accounts
_LEASE_S: Final = 5
_ZSTD_LEVEL: Final = 1  # as fast as LZ4, and half the size
# The hour is that of PostgreSQL's clock, so that all servers agree.
_HOUR: Final = "(extract(epoch FROM now()) / 3600)::bigint"
_TOKEN: Final = f"""
SELECT nextval('flight_tokens'), {_HOUR}, EXISTS (SELECT FROM large_tweets)
"""  # noqa: S608 (no text of a user is in it)
_LARGE: Final = "SELECT tweet_id FROM large_tweets WHERE tweet_id = ANY(%(ids)s)"
_NOTE_LARGE: Final = """
INSERT INTO large_tweets SELECT unnest(%(ids)s::bigint[]) AS tweet_id ORDER BY tweet_id
ON CONFLICT DO NOTHING
"""
# In the order of the keys: otherwise two commits could wait for each other.
_CLAIM: Final = """
INSERT INTO batches
SELECT key, digest, outcome, %(token)s, CASE WHEN expires THEN %(now_s)s::bigint END
FROM unnest(%(keys)s::bytea[], %(digests)s::bytea[], %(outcomes)s::bytea[], %(expire)s::boolean[])
    AS new (key, digest, outcome, expires)
ORDER BY key ON CONFLICT DO NOTHING RETURNING key
"""
_KNOWN: Final = "SELECT key, digest, outcome, token FROM batches WHERE key = ANY(%(keys)s)"
# Both wait for a transaction that moves the same position, and then see what it has committed.
_BEGIN_SOURCE: Final = """
INSERT INTO positions VALUES (%(source)s, %(offset)s, %(token)s) ON CONFLICT DO NOTHING RETURNING 1
"""
_MOVE_ON: Final = """
UPDATE positions SET position = %(offset)s, token = %(token)s
WHERE source = %(source)s AND position = %(after)s RETURNING 1
"""
_LEASE: Final = f"now() + interval '{_LEASE_S} s'"
_BEGIN: Final = f"""
INSERT INTO flights (token, began_at, leased_until, views, large, blocks)
VALUES (%(token)s, now(), {_LEASE}, %(views)s, %(large)s, %(blocks)b::bytea[])
"""  # noqa: S608 (no text of a user is in it)
_IN_TIME: Final = f"began_at > now() - interval '{FLIGHT_DAYS_MAX} days'"
_LEASE_NEXT: Final = f"""
UPDATE flights SET leased_until = {_LEASE}, attempts = attempts + 1 WHERE token = (
    SELECT token FROM flights WHERE leased_until < now() AND {_IN_TIME}
    ORDER BY leased_until LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING token, blocks
"""  # noqa: S608
_SET_ASIDE: Final = f"SELECT token, blocks FROM flights WHERE NOT {_IN_TIME} FOR UPDATE"  # noqa: S608
_REPLACE: Final = "UPDATE flights SET blocks = %(blocks)s::bytea[] WHERE token = %(token)s"
_EXPIRE: Final = """
DELETE FROM batches WHERE key = ANY (ARRAY(
    SELECT key FROM batches WHERE applied_at_s < %(before_s)s ORDER BY applied_at_s
    LIMIT %(slice)s FOR UPDATE SKIP LOCKED
) || %(keys)s::bytea[]) AND applied_at_s < %(before_s)s
"""
_SLICE: Final = 100  # forgotten with each commit


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answers to some batches, and what they need.

    `new` holds the batches to count. `earlier` holds the flights that repeats belong to: a repeat
    may be answered when they have ended.
    """

    answers: list[Answer]
    new: list[Batch]
    earlier: set[int]


@dataclass(frozen=True, slots=True)
class Flight:
    """The block that each shard must insert, in the order of the shards. None: it has nothing."""

    token: int
    blocks: list[bytes | None]


@dataclass(frozen=True, slots=True)
class Token:
    """What a new flight begins with.

    `number` is its own, and also identifies its blocks for ClickHouse. `hour` is the current one.
    `any_large` tells whether any Tweet is known to have a large counter.
    """

    number: int
    hour: int
    any_large: bool


def next_token(db: Connection) -> Token:
    """Return a token that no other flight has."""
    (row,) = db.execute(_TOKEN)
    return Token(*row)


def read_hour(db: Connection) -> int:
    """Return the current hour."""
    ((hour,),) = db.execute(f"SELECT {_HOUR}")
    return int(hour)


def claim(
    db: Connection, batches: Sequence[Batch], *, token: int, now_s: int, keep_s: int
) -> Claimed:
    """Record the keys and positions of the batches that are new. Call it in a transaction.

    Some keys that are older than `keep_s`, in the time of the ledger, are forgotten.
    """
    first = {batch.key: batch for batch in reversed(batches) if batch.key is not None}
    expired = {"before_s": now_s - keep_s, "slice": _SLICE, "keys": list(first)}
    db.execute(_EXPIRE, expired)
    claimed = _claim_keys(db, list(first.values()), token=token, now_s=now_s)
    known = _read_known(db, [key for key in first if key not in claimed])
    answers: list[Answer] = []
    new: dict[int, Batch] = {}
    repeats: dict[int, int] = {}  # with the flight that each belongs to
    for index, batch in enumerate(batches):
        if batch.key is None or (batch.key in claimed and first[batch.key] is batch):
            new[index] = batch
            answers.append(Applied(False, batch.outcome))
            continue
        mate = first[batch.key]
        if batch.key not in claimed and batch.key not in known:
            raise StoreUnavailable("Tweet", "a key expired while its batch was sent again")
        digest, outcome, flight = known.get(batch.key) or (mate.digest, mate.outcome, token)
        if digest != batch.digest:
            answers.append(KeyConflict())
            continue
        answers.append(Applied(True, outcome))
        repeats[index] = flight
    flights = {**dict.fromkeys(new, token), **repeats}
    moving = {index: batches[index] for index in flights}
    refused = _move_positions(db, moving, flights=flights)
    _unclaim(db, [new[index] for index in refused if index in new], repeats=len(repeats))
    for index in refused:
        answers[index] = PositionConflict()
    counted = [batch for index, batch in new.items() if index not in refused]
    return Claimed(answers, counted, set(repeats.values()) - {token})


def _move_positions(
    db: Connection, batches: Mapping[int, Batch], *, flights: Mapping[int, int]
) -> set[int]:
    """Move the positions of batches that are counted by `flights`.

    Return those that follow another position.
    """
    positions = {index: batch.position for index, batch in batches.items() if batch.position}
    refused: set[int] = set()
    # In the order of the sources: otherwise two commits could wait for each other.
    for index, position in sorted(positions.items(), key=lambda item: (item[1].source, item[0])):
        query = _BEGIN_SOURCE if position.after is None else _MOVE_ON
        values = {"source": position.source, "offset": position.offset, "token": flights[index]}
        if db.execute(query, {**values, "after": position.after}).fetchone() is None:
            refused.add(index)
    return refused


def _unclaim(db: Connection, refused: Sequence[Batch], *, repeats: int) -> None:
    """Forget the keys of new batches that were refused.

    Raises:
        StoreUnavailable: the call has repeats, perhaps of these batches, which do not count.
    """
    keys = [batch.key for batch in refused if batch.key is not None]
    if keys and repeats:
        raise StoreUnavailable("Tweet", "a position was moved while its batch was sent again")
    if keys:
        db.execute("DELETE FROM batches WHERE key = ANY(%s)", (keys,))


def _claim_keys(db: Connection, batches: Sequence[Batch], *, token: int, now_s: int) -> set[bytes]:
    """Record those keys that are new, and return them."""
    if not batches:
        return set()
    columns = {
        "keys": [batch.key for batch in batches],
        "digests": [batch.digest for batch in batches],
        "outcomes": [batch.outcome for batch in batches],
        "expire": [batch.expires for batch in batches],
    }
    values = {**columns, "token": token, "now_s": now_s}
    return {bytes(key) for (key,) in db.execute(_CLAIM, values)}


def _read_known(db: Connection, keys: Sequence[bytes]) -> Mapping[bytes, tuple[bytes, bytes, int]]:
    """Read digest, outcome and flight of these keys."""
    if not keys:
        return {}
    rows = db.execute(_KNOWN, {"keys": list(keys)})
    return {bytes(key): (bytes(digest), bytes(out), token) for key, digest, out, token in rows}


def _pack(flight: Flight) -> list[bytes | None]:
    pack = zstandard.ZstdCompressor(_ZSTD_LEVEL).compress
    return [block and pack(block) for block in flight.blocks]


def _unpack(token: int, blocks: Sequence[bytes | None]) -> Flight:
    unpack = zstandard.ZstdDecompressor().decompress
    return Flight(token, [block and unpack(block) for block in blocks])


def begin_flight(db: Connection, flight: Flight, *, views: bool, large: bool) -> None:
    """Record a flight, leased to this process.

    `views` tells whether it counts video views, and `large` whether it counts for Tweets whose
    counters could become too large.
    """
    values = {"token": flight.token, "views": views, "large": large, "blocks": _pack(flight)}
    db.execute(_BEGIN, values)


def note_failure(db: Connection, token: int, *, reason: str) -> None:
    """Record why a flight could not be completed. It is tried again when its lease has ended."""
    db.execute("UPDATE flights SET reason = %s WHERE token = %s", (reason, token))


def end_flight(db: Connection, token: int) -> None:
    """Forget a flight, because every shard has its block."""
    db.execute("DELETE FROM flights WHERE token = %s", (token,))


def lease_next(db: Connection) -> Flight | None:
    """Lease a flight whose lease has ended. None if there is none."""
    row = db.execute(_LEASE_NEXT).fetchone()
    return None if row is None else _unpack(*row)


def list_under_way(db: Connection, ids: Collection[int]) -> list[int]:
    """List the flights with counters of these ids, without those that are set aside."""
    rows = db.execute(f"SELECT token, blocks FROM flights WHERE {_IN_TIME}")  # noqa: S608
    flights = [_unpack(*row) for row in rows]
    return [
        each.token for each in flights if any(holds(block, ids) for block in each.blocks if block)
    ]


def count_flights(db: Connection) -> dict[str, int]:
    """Count the flights that are under way, and those that are set aside."""
    query = f"SELECT count(*) FILTER (WHERE {_IN_TIME}), count(*) FROM flights"  # noqa: S608
    ((under_way, every),) = db.execute(query).fetchall()
    return {"commits_under_way": under_way, "commits_set_aside": every - under_way}


def erase_set_aside(db: Connection, ids: Collection[int]) -> None:
    """Remove the counters of these ids from the flights that are set aside.

    An operator may still decide to complete one. Call it in a transaction.
    """
    for row in db.execute(_SET_ASIDE).fetchall():
        flight = _unpack(*row)
        kept = Flight(flight.token, [block and without(block, ids) for block in flight.blocks])
        if kept != flight:
            db.execute(_REPLACE, {"token": kept.token, "blocks": _pack(kept)})


def is_behind(db: Connection, *, after_s: int) -> bool:
    """Whether a flight began so long ago, and has neither ended nor been set aside."""
    began = f"began_at < now() - %s * interval '1 second' AND {_IN_TIME}"
    query = f"SELECT 1 FROM flights WHERE {began} LIMIT 1"  # noqa: S608
    return db.execute(query, (after_s,)).fetchone() is not None


def under_way(db: Connection, tokens: Sequence[int]) -> bool:
    """Whether one of these flights has not ended."""
    query = "SELECT 1 FROM flights WHERE token = ANY(%s) LIMIT 1"
    return bool(tokens) and db.execute(query, (list(tokens),)).fetchone() is not None


def views_under_way(db: Connection) -> bool:
    """Whether a flight that counts video views has not ended."""
    return db.execute("SELECT 1 FROM flights WHERE views LIMIT 1").fetchone() is not None


def large_under_way(db: Connection) -> bool:
    """Whether a flight for Tweets with large counters has not ended."""
    return db.execute("SELECT 1 FROM flights WHERE large LIMIT 1").fetchone() is not None


def known_large(db: Connection, ids: Sequence[int]) -> set[int]:
    """Return those of these Tweets that may have large counters."""
    return {tweet_id for (tweet_id,) in db.execute(_LARGE, {"ids": list(ids)})}


def own_large(db: Connection, ids: Sequence[int]) -> None:
    """Note Tweets with large counters. Until this transaction ends, nobody else can do that."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_LARGE_LOCK,))
    db.execute(_NOTE_LARGE, {"ids": list(ids)})


def share_videos(db: Connection) -> None:
    """Until this transaction ends, no Tweet changes its video."""
    db.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_VIDEOS_LOCK,))


def own_videos(db: Connection) -> None:
    """Until this transaction ends, nobody else counts views or changes videos."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_VIDEOS_LOCK,))


def read_outcome(db: Connection, key: bytes, *, digest: bytes) -> tuple[bytes, int] | None:
    """Read the outcome of the batch with this key and digest, and the token of its flight."""
    query = "SELECT outcome, token FROM batches WHERE key = %s AND digest = %s"
    row = db.execute(query, (key, digest)).fetchone()
    return (bytes(row[0]), row[1]) if row else None


def read_position(db: Connection, source: str) -> tuple[bytes, int] | None:
    """Read the offset that was last committed for a source, and the token of its flight."""
    query = "SELECT position, token FROM positions WHERE source = %s"
    row = db.execute(query, (source,)).fetchone()
    return (bytes(row[0]), row[1]) if row else None
