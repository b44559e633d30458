"""The faults of an event line: each function spoils a valid record in one way."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from oracle import wire
from oracle.bodies import Record

Spoil = Callable[[random.Random, dict[str, Any], datetime], Record]


def setting(name: str, *values: Any) -> Spoil:
    """Make a fault that sets a field to one of the values."""
    return lambda rng, record, _: {**record, name: rng.choice(values)}


def leaving_out(*names: str) -> Spoil:
    """Make a fault that leaves out one required field."""

    def spoil(rng: random.Random, record: dict[str, Any], _: datetime) -> Record:
        omitted = rng.choice(names)
        return {name: value for name, value in record.items() if name != omitted}

    return spoil


def in_the_future(rng: random.Random, record: dict[str, Any], now: datetime) -> Record:
    """Move an event more than a day into the future."""
    return {**record, "at": wire.show_time(now + timedelta(hours=rng.choice((26, 100, 100_000))))}


def torn(rng: random.Random, record: dict[str, Any], _: datetime) -> Record:
    """Cut off the end of a line."""
    text = json.dumps(record).encode()
    return text[: rng.randrange(1, len(text) - 1)]


def garbage(rng: random.Random, _record: dict[str, Any], _now: datetime) -> Record:
    """Write a line that is not an event."""
    return rng.choice(
        (
            b"not json",
            b"[]",
            b"42",
            b"null",
            b'"favorites"',
            b"{}",
            b"\xff\xfe{}",
            b"{}}",
            b"{\x00}",
        )
    )


FAULTS: dict[str, Spoil] = {
    "unknown type": setting(
        "type", "likes", "engagements", " favorites", "Favorites", "favorites\x00"
    ),
    "bad id": setting(
        "tweet_id", "abc", "-5", "12.5", "0", str(2**63), "1_000", "\uff11\uff12", "0x10"
    ),
    "bad time": setting(
        "at", "yesterday", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z"
    ),
    "future": in_the_future,
    "bad count in words": setting("count", "many", "1.5"),
    "bad count in JSON": setting("count", 1.5, True, [1], {"n": 1}, 10**30),
    "bad flag": setting("promoted", "maybe", [True]),
    "bad shape": setting("tweet_id", {"id": "20"}, ["20"], 1.5, True),
    "missing field": leaving_out("tweet_id", "type", "at"),
    "torn": torn,
    "garbage": garbage,
}
_IN_TEXT = {"unknown type", "bad id", "bad time", "future"}
_IN_JSON = {
    *_IN_TEXT,
    "bad count in words",
    "bad count in JSON",
    "bad flag",
    "bad shape",
    "missing field",
}
FAULTS_OF_FORMAT: dict[str, set[str]] = {
    "ndjson": {*_IN_JSON, "torn", "garbage"},
    "json": _IN_JSON,
    "csv": {*_IN_TEXT, "bad count in words", "missing field"},
    "parquet": {*_IN_TEXT, "missing field"},
    "arrow": {*_IN_TEXT, "missing field"},
}
