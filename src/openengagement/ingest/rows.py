"""Validate rows: the rules for events, Tweets and accounts, and the reasons of rejections.

The input is columns of text, the same for every format. A rule is an expression that is true for
the rows that break it. The first broken rule of a row gives the reason of its rejection. Rows that
break no rule are cast to their types.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl

from openengagement.engagement.rollup import EVENT_SCHEMA
from openengagement.engagement.types import EVENT_TYPES, HOUR_S, ID_MAX
from openengagement.ingest.values import (
    COUNT_MAX,
    NOT_TEXT,
    parse_counts,
    parse_flags,
    parse_ids,
    parse_times,
)

VIDEO_ID_LENGTH_MAX: Final = 128
TEXT_LENGTH_MAX: Final = 1000
URL_LENGTH_MAX: Final = 2048


class DropReason(StrEnum):
    """Why a line was rejected. The values are part of the answer, so the set is closed."""

    MALFORMED = "malformed"
    MISSING_FIELD = "missing_field"
    INVALID_ID = "invalid_id"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_TIME = "invalid_time"
    IN_FUTURE = "in_future"
    INVALID_COUNT = "invalid_count"
    INVALID_FLAG = "invalid_flag"
    INVALID_TEXT = "invalid_text"
    INVALID_URL = "invalid_url"
    INVALID_NAME = "invalid_name"
    NAME_TAKEN = "name_taken"


@dataclass(frozen=True, slots=True)
class Rule:
    """`broken` is true for rows that break the rule; `detail` then explains the rejection."""

    reason: DropReason
    broken: pl.Expr
    detail: pl.Expr


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of row, declared by its fields.

    `ids`, `times`, `counts` and `flags` name the fields of these types. Their parsed columns are
    called `<field>_number`, `<field>_s` (Unix seconds), `<field>_number` and `<field>_flag`. Other
    fields are text, which `text_rules` check. `texts` are those that may be any text: a value of
    another type comes marked with NOT_TEXT. A row must have the `required` fields. `typed` maps
    each column of a valid row to its expression. The columns in `nullable` may hold nulls.
    """

    name: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    typed: dict[str, pl.Expr]
    nullable: frozenset[str] = frozenset()
    ids: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    text_rules: tuple[Rule, ...] = ()


def validate(
    frame: pl.DataFrame, kind: Kind, *, latest_s: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows of text into valid rows, typed, and rejected rows (line, reason, detail).

    `frame` has a column `line` and one text column per field of the kind. `latest_s` is the latest
    time that is not in the future, in Unix seconds.
    """
    # The library can panic in an expression over columns of several chunks.
    derived = _parse_columns(frame.rechunk(), kind)
    # The expression of a rule is null where its field is missing; that breaks no rule.
    rules = [
        Rule(rule.reason, rule.broken.fill_null(value=False), rule.detail)
        for rule in _rules_of(kind, latest_s)
    ]
    bad = derived.select(pl.any_horizontal(rule.broken for rule in rules)).to_series()
    valid = derived.filter(~bad) if bad.any() else derived
    typed = valid.select("line", **kind.typed)
    _check_complete(typed, kind)
    if not bad.any():
        return typed, no_rejections()
    reason = pl.coalesce(pl.when(rule.broken).then(pl.lit(rule.reason.value)) for rule in rules)
    detail = pl.coalesce(pl.when(rule.broken).then(rule.detail) for rule in rules)
    return typed, derived.filter(bad).select("line", reason=reason, detail=detail)


def _check_complete(typed: pl.DataFrame, kind: Kind) -> None:
    """Check that the rules rejected every row with a null that is not allowed."""
    missing = {name for name in typed.columns if typed.get_column(name).null_count()}
    if missing - kind.nullable:
        raise RuntimeError(f"the rules for {kind.name} accepted nulls in {sorted(missing)}")


def _parse_columns(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Add the parsed columns of a kind; a value is null where its text is missing or invalid."""
    parsers = (
        (kind.ids, parse_ids, "number"),
        (kind.times, parse_times, "s"),
        (kind.counts, parse_counts, "number"),
        (kind.flags, parse_flags, "flag"),
    )
    return frame.with_columns(
        parse(frame.get_column(column)).alias(f"{column}_{suffix}")
        for columns, parse, suffix in parsers
        for column in columns
    )


def _rules_of(kind: Kind, latest_s: float) -> list[Rule]:
    """List the rules of a kind in their order: the first broken one gives the reason."""
    return [
        *map(_missing, kind.required),
        *map(_bad_id, kind.ids),
        *kind.text_rules,
        *(rule for column in kind.times for rule in _bad_time(column, latest_s)),
        *map(_bad_count, kind.counts),
        *map(_bad_flag, kind.flags),
    ]


def no_rejections() -> pl.DataFrame:
    """An empty frame of rejected rows."""
    return pl.DataFrame(schema={"line": pl.UInt32, "reason": pl.String, "detail": pl.String})


def _detail(column: str, text: str) -> pl.Expr:
    """Quote at most 64 characters of the value, then say what is wrong with it."""
    value = pl.col(column).str.strip_prefix(NOT_TEXT).str.slice(0, 64)
    return pl.format(f"{column} {{}} {text}", value)


def _missing(column: str) -> Rule:
    detail = pl.lit(f"{column} is missing")
    return Rule(DropReason.MISSING_FIELD, pl.col(column).is_null(), detail)


def _bad_id(column: str) -> Rule:
    broken = pl.col(column).is_not_null() & pl.col(f"{column}_number").is_null()
    detail = _detail(column, f"is not a whole number from 1 to {ID_MAX}")
    return Rule(DropReason.INVALID_ID, broken, detail)


def _bad_flag(column: str) -> Rule:
    broken = pl.col(column).is_not_null() & pl.col(f"{column}_flag").is_null()
    return Rule(DropReason.INVALID_FLAG, broken, _detail(column, "is not true or false"))


def _bad_time(column: str, latest_s: float) -> list[Rule]:
    parsed = pl.col(f"{column}_s")
    unreadable = pl.col(column).is_not_null() & (parsed.is_null() | (parsed < 0))
    text = "is not an RFC 3339 time since 1970, such as 2026-11-22T10:15:00Z"
    return [
        Rule(DropReason.INVALID_TIME, unreadable, _detail(column, text)),
        Rule(DropReason.IN_FUTURE, parsed > int(latest_s), _detail(column, "is in the future")),
    ]


def _bad_count(column: str) -> Rule:
    broken = pl.col(f"{column}_number").is_null()
    detail = _detail(column, f"is not a whole number from -{COUNT_MAX} to {COUNT_MAX}")
    return Rule(DropReason.INVALID_COUNT, broken, detail)


_UNKNOWN_TYPE: Final = Rule(
    DropReason.UNKNOWN_TYPE,
    ~pl.col("type").is_in(EVENT_TYPES),
    pl.when(pl.col("type") == "engagements")
    .then(pl.lit("type engagements is derived from the other types; send those instead"))
    .otherwise(_detail("type", f"is not one of {', '.join(EVENT_TYPES)}")),
)
EVENTS: Final = Kind(
    name="events",
    fields=("tweet_id", "type", "at", "count", "promoted"),
    required=("tweet_id", "type", "at"),
    typed={
        "tweet_id": pl.col("tweet_id_number"),
        "type": pl.col("type").cast(EVENT_SCHEMA["type"]),
        "hour": pl.col("at_s").floordiv(HOUR_S).cast(pl.Int32),
        "count": pl.col("count_number").cast(pl.Int64),
        "promoted": pl.col("promoted_flag").fill_null(value=False),
    },
    ids=("tweet_id",),
    times=("at",),
    counts=("count",),
    flags=("promoted",),
    text_rules=(_UNKNOWN_TYPE,),
)

_VIDEO_ID: Final = pl.col("video_id")
# A number that was a float may be rounded, and name the video of another Tweet.
_ROUNDED: Final = rf"^(?:{NOT_TEXT})?[+-]?[0-9]+(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-][0-9]+)$"
_INVALID_VIDEO: Final = (
    Rule(
        DropReason.INVALID_ID,
        _VIDEO_ID.str.contains(_ROUNDED),
        _detail("video_id", "is a number with a fraction or an exponent; send the id as text"),
    ),
    Rule(
        DropReason.INVALID_ID,
        _VIDEO_ID.str.starts_with(NOT_TEXT),
        _detail("video_id", "is not text; send the id as text"),
    ),
    Rule(
        DropReason.INVALID_ID,
        ~_VIDEO_ID.str.len_chars().is_between(1, VIDEO_ID_LENGTH_MAX),
        _detail("video_id", f"is not text of 1 to {VIDEO_ID_LENGTH_MAX} characters"),
    ),
    Rule(
        DropReason.INVALID_ID,
        _VIDEO_ID.str.contains(r"[\p{Cc}\p{Zl}\p{Zp}]|^\s|\s$"),
        pl.lit("video_id has a control character or line break, or a space at an end"),
    ),
)
_CONTENT: Final = ("text", "url", "thumbnail_url")
# PostgreSQL stores no NUL, and no page shows a control character.
_INVALID_TEXT: Final = (
    Rule(
        DropReason.INVALID_TEXT,
        pl.col("text").str.starts_with(NOT_TEXT),
        _detail("text", "is not text; send the text as text"),
    ),
    Rule(
        DropReason.INVALID_TEXT,
        pl.col("text").str.len_chars() > TEXT_LENGTH_MAX,
        pl.format(
            f"text has {{}} characters; send the first {TEXT_LENGTH_MAX}",
            pl.col("text").str.len_chars(),
        ),
    ),
    Rule(
        DropReason.INVALID_TEXT,
        pl.col("text").str.contains(r"[\p{Cc}&&[^\t\n\r]]"),
        pl.lit("text has a control character"),
    ),
)
# A host and an optional port without a user's name, which could look like a host. Then anything
# without white space, invisible characters and marks that end a URL in text.
_REST_OF_URL: Final = (
    r"""(?:[^\s\p{Cc}\p{Cf}/?#@:\\\[\]<>"']+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"""
    r"""(?:[/?#][^\s\p{Cc}\p{Cf}"<>\\]*)?$"""
)


def _invalid_url(column: str, scheme: str, *, allowed: str) -> tuple[Rule, ...]:
    """Make the rules for a URL. An empty one removes the known value."""
    url = pl.col(column)
    form = f"^(?:(?i:{scheme})://{_REST_OF_URL}|$)"
    text = f"is not {allowed} of at most {URL_LENGTH_MAX} characters; send the URL as text"
    too_long = url.str.len_chars() > URL_LENGTH_MAX
    return (
        Rule(DropReason.INVALID_URL, ~url.str.contains(form) | too_long, _detail(column, text)),
    )


# A null in a row of a Tweet or an account means: keep the known value.
TWEETS: Final = Kind(
    name="tweets",
    fields=("id", "author_id", "created_at", "video_id", "deleted", *_CONTENT),
    required=("id", "author_id"),
    typed={
        "id": pl.col("id_number"),
        "author_id": pl.col("author_id_number"),
        "created_at": pl.col("created_at_s"),
        # Leading zeros of a number do not count, as for every other id.
        "video_id": pl.col("video_id").str.replace(r"^0+([0-9]+)$", "${1}"),
        "deleted": pl.col("deleted_flag"),
        **{name: pl.col(name) for name in _CONTENT},
    },
    nullable=frozenset({"created_at", "video_id", "deleted", *_CONTENT}),
    ids=("id", "author_id"),
    times=("created_at",),
    flags=("deleted",),
    texts=("video_id", *_CONTENT),
    text_rules=(
        *_INVALID_VIDEO,
        *_INVALID_TEXT,
        *_invalid_url("url", "https?", allowed="an HTTP or HTTPS URL"),
        *_invalid_url("thumbnail_url", "https", allowed="an HTTPS URL"),
    ),
)

# Letters and digits of any script with their combining marks. No invisible characters, and none
# that HTML must escape.
_NAME_PATTERN: Final = r"^[\p{Alphabetic}\p{M}\p{Nd}_.\-]{1,64}$"


def is_screen_name(text: str) -> bool:
    """Whether an account may have this screen name."""
    return bool(pl.Series([text]).str.contains(_NAME_PATTERN).item())


def is_mail_address(text: str) -> bool:
    """Whether an account may have this mail address."""
    return bool(pl.Series([text]).str.contains(_MAIL_PATTERN).item())


_NO_NAME: Final = Rule(
    DropReason.INVALID_NAME,
    pl.col("screen_name").str.starts_with(NOT_TEXT),
    _detail("screen_name", "is not text; send the name as text"),
)
_INVALID_NAME: Final = Rule(
    DropReason.INVALID_NAME,
    ~pl.col("screen_name").str.contains(_NAME_PATTERN),
    _detail("screen_name", "is not 1 to 64 letters, digits, dots, hyphens or underscores"),
)
# One address without a display name, such as `setting_kinds.parse_mail_address` accepts.
_MAIL_PATTERN: Final = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,188}[A-Za-z0-9])?$"
)
_INVALID_MAIL: Final = Rule(
    DropReason.INVALID_TEXT,
    ~pl.col("mail").str.contains(f"{_MAIL_PATTERN}|^$"),
    _detail("mail", "is not a mail address; send one such as ana@example.com, or an empty text"),
)
ACCOUNTS: Final = Kind(
    name="accounts",
    fields=("id", "screen_name", "protected", "mail"),
    required=("id", "screen_name"),
    typed={
        "id": pl.col("id_number"),
        "screen_name": pl.col("screen_name"),
        "protected": pl.col("protected_flag"),
        "mail": pl.col("mail"),
    },
    nullable=frozenset({"protected", "mail"}),
    ids=("id",),
    flags=("protected",),
    texts=("screen_name", "mail"),
    text_rules=(_NO_NAME, _INVALID_NAME, _INVALID_MAIL),
)
