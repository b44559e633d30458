"""The rules for rows: what makes an event, a Tweet or an account acceptable, and why not.

Everything works on columns of text, whatever format they came in: a rule is one expression that is
true for the rows that break it. The first rule that a row breaks names its reason. What keeps every
rule is cast to its type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl

from openengagement.engagement.rollup import EVENT_SCHEMA
from openengagement.engagement.types import EVENT_TYPES, HOUR_S, ID_MAX

COUNT_MAX: Final = 1_000_000_000
_PLAIN_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
_ZONED_TIME: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$"
)
_BARE_COLUMN: Final = "(nothing)"


class DropReason(StrEnum):
    """Why a line was refused. A closed set: it is part of the answer."""

    MALFORMED = "malformed"
    MISSING_FIELD = "missing_field"
    INVALID_ID = "invalid_id"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_TIME = "invalid_time"
    IN_FUTURE = "in_future"
    INVALID_COUNT = "invalid_count"
    INVALID_FLAG = "invalid_flag"
    INVALID_NAME = "invalid_name"
    NAME_TAKEN = "name_taken"


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` is true for rows that break it; `detail` is then the text to show."""

    reason: DropReason
    broken: pl.Expr
    detail: pl.Expr


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of row: its fields, and how a frame of their texts becomes typed and judged.

    `derive` adds typed columns; `rules` judge text and typed columns together; `typed` names, for
    each column of the result, the expression it comes from, and `nullable` those that may be empty.
    """

    name: str
    fields: tuple[str, ...]
    derive: Callable[[pl.DataFrame], pl.DataFrame]
    rules: Callable[[float], Sequence[Rule]]  # given the latest time that is not in the future
    typed: dict[str, pl.Expr]
    nullable: frozenset[str] = frozenset()


def judge(frame: pl.DataFrame, kind: Kind, *, latest_s: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows of text into good ones, typed, and refused ones: line, reason, detail.

    `frame` has a column `line` and one text column per field of the kind.
    """
    derived = kind.derive(frame)
    # A rule about a field that is not there has nothing to say: null means not broken.
    rules = [
        Rule(rule.reason, rule.broken.fill_null(value=False), rule.detail)
        for rule in kind.rules(latest_s)
    ]
    bad = derived.select(pl.any_horizontal(rule.broken for rule in rules)).to_series()
    good = derived.filter(~bad) if bad.any() else derived
    typed = good.select("line", **kind.typed)
    _check_complete(typed, kind)
    if not bad.any():
        return typed, no_rejections()
    reason = pl.coalesce(pl.when(rule.broken).then(pl.lit(rule.reason.value)) for rule in rules)
    detail = pl.coalesce(pl.when(rule.broken).then(rule.detail) for rule in rules)
    return typed, derived.filter(bad).select("line", reason=reason, detail=detail)


def _check_complete(typed: pl.DataFrame, kind: Kind) -> None:
    """Our own rules must have caught every value that is missing; a gap here is our fault."""
    missing = {name for name in typed.columns if typed.get_column(name).null_count()}
    if missing - kind.nullable:
        raise RuntimeError(f"the rules for {kind.name} let nulls through: {sorted(missing)}")


def no_rejections() -> pl.DataFrame:
    """Refused rows, none of them."""
    return pl.DataFrame(schema={"line": pl.UInt32, "reason": pl.String, "detail": pl.String})


def _shown(column: str) -> pl.Expr:
    """A value as a detail quotes it: at most 64 characters."""
    return pl.col(column).str.slice(0, 64).fill_null(_BARE_COLUMN)


def _says(column: str, text: str) -> pl.Expr:
    return pl.format(f"{column} {{}} {text}", _shown(column))


def _missing(*columns: str) -> list[Rule]:
    return [
        Rule(DropReason.MISSING_FIELD, pl.col(name).is_null(), pl.lit(f"{name} is missing"))
        for name in columns
    ]


def _parse_ids(frame: pl.DataFrame, **columns: str) -> pl.DataFrame:
    """Add integer columns (name -> text column), null where the text is no positive 63-bit id."""
    parsed = {}
    for name, column in columns.items():
        number = pl.col(column).cast(pl.Int64, strict=False)
        signed = pl.col(column).str.starts_with("+")
        parsed[name] = pl.when((number > 0) & ~signed).then(number)
    return frame.with_columns(**parsed)


def _parse_times(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add `<column>_s`: Unix seconds, null where the text is no RFC 3339 time."""
    name = f"{column}_s"
    plain = pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", strict=False, time_unit="us")
    # The parser itself is lenient: it takes signs, spaces and single digits.
    wanted = pl.col(column).str.contains(_PLAIN_TIME)
    parsed = frame.with_columns(pl.when(wanted).then(plain.dt.epoch("s")).alias(name))
    unread = pl.col(name).is_null() & pl.col(column).is_not_null()
    if parsed.select(unread.any()).item():
        zoned = (
            pl.col(column)
            .str.replace(r"[Zz]$", "+00:00")
            .str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_unit="us")
        )
        zoned_s = pl.when(pl.col(column).str.contains(_ZONED_TIME)).then(zoned.dt.epoch("s"))
        parsed = parsed.with_columns(pl.coalesce(name, zoned_s).alias(name))
    return parsed


def _parse_flag(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add `<column>_flag`: a boolean, null where the text is neither or there is none."""
    if frame.get_column(column).null_count() == frame.height:
        return frame.with_columns(pl.lit(None, pl.Boolean).alias(f"{column}_flag"))
    values = {"true": True, "false": False, "True": True, "False": False}
    flag = pl.col(column).replace_strict(values, default=None, return_dtype=pl.Boolean)
    return frame.with_columns(flag.alias(f"{column}_flag"))


def _bad_id(column: str, parsed: str) -> Rule:
    broken = pl.col(column).is_not_null() & pl.col(parsed).is_null()
    detail = _says(column, f"is not a whole number from 1 to {ID_MAX}")
    return Rule(DropReason.INVALID_ID, broken, detail)


def _bad_flag(column: str) -> Rule:
    broken = pl.col(column).is_not_null() & pl.col(f"{column}_flag").is_null()
    return Rule(DropReason.INVALID_FLAG, broken, _says(column, "is not true or false"))


def _bad_time(column: str, latest_s: float) -> list[Rule]:
    parsed = pl.col(f"{column}_s")
    unreadable = pl.col(column).is_not_null() & (parsed.is_null() | (parsed < 0))
    text = "is not a time since 1970 such as 2026-11-22T10:15:00Z"
    return [
        Rule(DropReason.INVALID_TIME, unreadable, _says(column, text)),
        Rule(DropReason.IN_FUTURE, parsed > int(latest_s), _says(column, "lies in the future")),
    ]


def _derive_events(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _parse_ids(_parse_times(_parse_flag(frame, "promoted"), "at"), id="tweet_id")
    number = pl.col("count").cast(pl.Int64, strict=False)
    return frame.with_columns(
        n=pl.when(pl.col("count").is_null()).then(1).otherwise(number),
    )


def _event_rules(latest_s: float) -> list[Rule]:
    known = ", ".join(EVENT_TYPES)
    whole = f"is not a whole number from -{COUNT_MAX} to {COUNT_MAX}"
    return [
        *_missing("tweet_id", "type", "at"),
        _bad_id("tweet_id", "id"),
        Rule(
            DropReason.UNKNOWN_TYPE,
            ~pl.col("type").is_in(EVENT_TYPES),
            pl.when(pl.col("type") == "engagements")
            .then(pl.lit("type engagements is derived from the others; send those"))
            .otherwise(_says("type", f"is not one of {known}")),
        ),
        *_bad_time("at", latest_s),
        Rule(
            DropReason.INVALID_COUNT,
            pl.col("n").is_null() | ~pl.col("n").is_between(-COUNT_MAX, COUNT_MAX),
            _says("count", whole),
        ),
        _bad_flag("promoted"),
    ]


EVENTS: Final = Kind(
    name="events",
    fields=("tweet_id", "type", "at", "count", "promoted"),
    derive=_derive_events,
    rules=_event_rules,
    typed={
        "tweet_id": pl.col("id"),
        "type": pl.col("type").cast(EVENT_SCHEMA["type"]),
        "hour": pl.col("at_s").floordiv(HOUR_S).cast(pl.Int32),
        "count": pl.col("n").cast(pl.Int64),
        "promoted": pl.col("promoted_flag").fill_null(value=False),
    },
)


def _derive_tweets(frame: pl.DataFrame) -> pl.DataFrame:
    frame = _parse_times(_parse_flag(frame, "deleted"), "created_at")
    return _parse_ids(frame, tweet="id", author="author_id", video="video_id")


def _tweet_rules(latest_s: float) -> list[Rule]:
    return [
        *_missing("id", "author_id"),
        _bad_id("id", "tweet"),
        _bad_id("author_id", "author"),
        _bad_id("video_id", "video"),
        *_bad_time("created_at", latest_s),
        _bad_flag("deleted"),
    ]


# Of Tweets and accounts a null is what the row leaves unsaid: what is known stays.
TWEETS: Final = Kind(
    name="tweets",
    fields=("id", "author_id", "created_at", "video_id", "deleted"),
    derive=_derive_tweets,
    rules=_tweet_rules,
    typed={
        "id": pl.col("tweet"),
        "author_id": pl.col("author"),
        "created_at": pl.col("created_at_s"),
        "video_id": pl.col("video"),
        "deleted": pl.col("deleted_flag"),
    },
    nullable=frozenset({"created_at", "video_id", "deleted"}),
)


def _derive_accounts(frame: pl.DataFrame) -> pl.DataFrame:
    return _parse_ids(_parse_flag(frame, "protected"), account="id")


# Letters and digits of any script, with their marks; nothing invisible, nothing a page must escape.
_NAME_PATTERN: Final = r"^[\p{Alphabetic}\p{M}\p{Nd}_.\-]{1,64}$"


def is_screen_name(text: str) -> bool:
    """Whether an account may be called so."""
    return bool(pl.Series([text]).str.contains(_NAME_PATTERN).item())


def _account_rules(_latest_s: float) -> list[Rule]:
    return [
        *_missing("id", "screen_name"),
        _bad_id("id", "account"),
        Rule(
            DropReason.INVALID_NAME,
            ~pl.col("screen_name").str.contains(_NAME_PATTERN),
            _says("screen_name", "is not 1 to 64 letters, digits, dots, hyphens or underscores"),
        ),
        _bad_flag("protected"),
    ]


ACCOUNTS: Final = Kind(
    name="accounts",
    fields=("id", "screen_name", "protected"),
    derive=_derive_accounts,
    rules=_account_rules,
    typed={
        "id": pl.col("account"),
        "screen_name": pl.col("screen_name"),
        "protected": pl.col("protected_flag"),
    },
    nullable=frozenset({"protected"}),
)
