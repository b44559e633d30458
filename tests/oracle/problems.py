"""Find every rule of section 1 of the contract that a request breaks.

A problem is the pattern of its text if the contract fixes or suggests one, and `None` if
only the status is known. The server may name any of several problems, so all are collected.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from oracle import wire

Problem = re.Pattern[str] | str | None

CLOCK_SKEW = timedelta(minutes=10)


def not_supported(what: str, names: list[str]) -> Problem:
    """Build the pattern of an error that names these values in any order."""
    each = "".join(f"(?=.*[(, ]{re.escape(name)}[),])" for name in dict.fromkeys(names))
    return re.compile(
        rf"{each}One or more of the {what} you have specified are not supported: \([^()]*\)\. "
        r"Please adjust your request and try again\.",
        re.IGNORECASE,
    )


def find_problems(endpoint: str, body: Any, now: datetime) -> list[Problem]:
    """List the rules of section 1 that a parsed body breaks."""
    if not isinstance(body, dict):
        return [None]
    problems: list[Problem] = [
        f"{name}: field is required"
        for name in ("tweet_ids", "engagement_types", "groupings")
        if name not in body
    ]
    if "tweet_ids" in body:
        problems += find_id_problems(endpoint, body["tweet_ids"])
    if "engagement_types" in body:
        problems += find_type_problems(endpoint, body["engagement_types"])
    if "groupings" in body:
        problems += find_grouping_problems(endpoint, body["groupings"])
    if endpoint == "historical":
        problems += find_date_problems(body, now)
    return problems


def is_id(value: Any) -> bool:
    """Whether a value is a Tweet id: a decimal number, as a string or an integer."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return re.fullmatch("[0-9]+", value) is not None
    return isinstance(value, int) and value >= 0


def find_id_problems(endpoint: str, value: Any) -> list[Problem]:
    """Check `tweet_ids`; repeats count in the limit."""
    if not isinstance(value, list) or not value:
        return [None]
    too_many = len(value) > wire.IDS_MAX[endpoint]
    return [None] * (too_many + sum(not is_id(one) for one in value))


def find_type_problems(endpoint: str, value: Any) -> list[Problem]:
    """Check `engagement_types`."""
    if not isinstance(value, list) or not value:
        return [None]
    served = wire.TOTALS_TYPES if endpoint == "totals" else (*wire.TIMED_TYPES, *wire.ALIASES)
    wrong = [name for name in value if name not in served]
    if not wrong:
        return []
    named = all(isinstance(name, str) and re.fullmatch("[a-z_]+", name) for name in wrong)
    return [not_supported("engagement types", wrong) if named else None]


def find_grouping_problems(endpoint: str, value: Any) -> list[Problem]:
    """Check `groupings`."""
    if not isinstance(value, dict) or not value:
        return [None]
    problems: list[Problem] = [None] * (len(value) > wire.GROUPINGS_MAX)
    four_items = 0
    for name, grouping in value.items():
        if name in wire.RESERVED_NAMES:
            problems.append(None)
        group_by = grouping.get("group_by") if isinstance(grouping, dict) else None
        if not is_group_by(group_by):
            problems.append(None)
            continue
        assert group_by is not None
        dimensions = tuple(dimension.lower() for dimension in group_by)
        timed = [dimension for dimension in dimensions if dimension in wire.TIME_DIMENSIONS]
        if endpoint == "totals" and timed:
            problems.append(not_supported("groupBys", timed))
        if len(dimensions) == len(wire.DIMENSIONS):
            four_items += 1
            if dimensions not in wire.FOUR_ITEM_ORDERS:
                problems.append(None)
    return problems + [None] * (four_items > 1)


def is_group_by(value: Any) -> bool:
    """Whether a value is a list of known dimensions without repeats."""
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        return False
    times = Counter(one.lower() for one in value)
    return all(one in wire.DIMENSIONS for one in times) and max(times.values()) == 1


def read_dates(body: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Parse `start` and `end`, which are known to be valid."""
    start, end = (
        wire.parse_time(body[name]) if name in body else None for name in ("start", "end")
    )
    return start, end


def find_date_problems(body: dict[str, Any], now: datetime) -> list[Problem]:
    """Check `start` and `end` (1.3); the length is measured before rounding."""
    for name in ("start", "end"):
        if name in body and (
            not isinstance(body[name], str) or wire.parse_time(body[name]) is None
        ):
            return [None]
    start_given, end_given = read_dates(body)
    end = end_given or now
    start = start_given or end - wire.FOUR_WEEKS
    broken = (
        start >= end,
        end - start > wire.FOUR_WEEKS,
        end > wire.ceil_hour(now) + CLOCK_SKEW,
        start < wire.OLDEST_START,
    )
    return [None] * sum(broken)
