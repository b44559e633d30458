"""Turn a platform's own rows into events, by a mapping."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from openengagement.ingest.mapping import map_file
from openengagement.ingest.mapping.map_file import ANY, EventRule, FieldRule, Source

Row = Mapping[str, Any]
Value = str | int | float | bool | None
_NO_RULE: Final = "fits no [[event]] of the mapping"
_TID: Final = "234567abcdefghijklmnopqrstuvwxyz"  # the AT Protocol's digits, in base 32
_TID_LENGTH: Final = 13
_TID_BITS: Final = 5
_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Longer values stay as they are. Many patterns take quadratic time, and senders choose the values.
_PATTERN_CHARS_MAX: Final = 1000
_NESTED_CHARS_MAX: Final = 128
_NUMBER_CHARS_MAX: Final = 64
_NUMBER_DIGITS_MAX: Final = 32
_ZONED: Final = re.compile(r"([Zz]|[+-][0-9]{2}:?[0-9]{2})$")


@dataclass(slots=True)
class MappedRows:
    """The events that rows became, and the number of each event's row.

    `rejected` has the numbers of rows that fit no rule, or that are no rows, with the reason.
    """

    events: list[dict[str, Value]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    ignored: int = 0


class Mapper:
    """Applies a mapping."""

    def __init__(self, mapping: map_file.Mapping) -> None:
        self._ignores = mapping.ignores
        self._rules = [_compile_rule(rule) for rule in mapping.rules]
        self.fields = sorted({path for rule in mapping.rules for path in _paths_of(rule)})

    def map_rows(self, rows: Iterable[tuple[int, object]]) -> MappedRows:
        """Map numbered rows. A row that is no JSON object is rejected, with the text that it is."""
        mapped = MappedRows()
        for number, row in rows:
            if not isinstance(row, Mapping):
                mapped.rejected[number] = row if isinstance(row, str) else "is not a JSON object"
                continue
            before = len(mapped.events)
            for fits, make in self._rules:
                if fits(row):
                    mapped.events.append(make(row))
                    mapped.numbers.append(number)
            if len(mapped.events) == before:
                mapped.ignored += self._ignores
                if not self._ignores:
                    mapped.rejected[number] = _NO_RULE
        return mapped


def _paths_of(rule: EventRule) -> Iterator[str]:
    yield from rule.when
    for source in _sources_of(rule).values():
        yield source if isinstance(source, str) else source.field


def _sources_of(rule: EventRule) -> dict[str, Source]:
    optional = {"count": rule.count, "promoted": rule.promoted}
    given = {name: source for name, source in optional.items() if source is not None}
    return {"tweet_id": rule.tweet_id, "type": rule.type, "at": rule.at, **given}


def _compile_rule(
    rule: EventRule,
) -> tuple[Callable[[Row], bool], Callable[[Row], dict[str, Value]]]:
    conditions = [
        (_reader(path), frozenset([wanted] if isinstance(wanted, str) else wanted))
        for path, wanted in rule.when.items()
    ]
    readers = [(name, _compile(source)) for name, source in _sources_of(rule).items()]

    def fits(row: Row) -> bool:
        return all(_has(read(row), wanted) for read, wanted in conditions)

    def make(row: Row) -> dict[str, Value]:
        values = ((name, _shorten(read(row))) for name, read in readers)
        return {name: value for name, value in values if value is not None}

    return fits, make


def _shorten(value: object) -> Value:
    """Write a list or an object as the start of its JSON. The rules for events reject the text."""
    if isinstance(value, list | dict):
        return msgspec.json.encode(value)[:_NESTED_CHARS_MAX].decode("utf-8", "replace")
    scalar: Value = value  # type: ignore[assignment]
    return scalar


def _has(value: object, wanted: frozenset[str]) -> bool:
    if value is None or value == "":
        return False
    return ANY in wanted or _text_of(value) in wanted


def _text_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reader(path: str) -> Callable[[Row], Any]:
    """Return what reads a field. A name of the row itself may have dots."""
    names = path.split(".")

    def read(row: Row) -> object:
        if path in row:
            return row[path]
        found: object = row
        for name in names:
            if not isinstance(found, Mapping):
                return None
            found = found.get(name)
        return found

    return read


def _compile(source: Source) -> Callable[[Row], Value]:
    if isinstance(source, str):
        return _reader(source)
    if not source.field:
        constant = source.value
        return lambda _: constant
    read, steps = _reader(source.field), _steps_of(source)

    def translate(row: Row) -> Value:
        value: Value = read(row)
        for step in steps:
            if value is not None:
                value = step(value)
        return value

    return translate


def _steps_of(source: FieldRule) -> Sequence[Callable[[Any], Value]]:
    """Return the translations of a value. One that does not fit a step stays as it is.

    The rules for events then reject it, and show it.
    """
    steps: list[Callable[[Any], Value]] = []
    if source.pattern:
        pattern = re.compile(source.pattern)
        steps.append(lambda value: _find(pattern, value))
    if source.values:
        values = source.values
        steps.append(lambda value: values.get(_text_of(value), value))
    if source.decode:
        steps.append(_decode_tid)
    if source.unit:
        scale = _UNITS[source.unit]
        steps.append(lambda value: _to_time(value, scale))
    if source.zone:
        steps.append(lambda value: value if _ZONED.search(str(value)) else f"{value}Z")
    return steps


def _find(pattern: re.Pattern[str], value: Value) -> Value:
    text = str(value)
    found = pattern.search(text) if len(text) <= _PATTERN_CHARS_MAX else None
    return found[1] if found else value


def _decode_tid(value: Value) -> Value:
    text = str(value)
    if len(text) != _TID_LENGTH or set(text) - set(_TID):
        return value
    number = 0
    for character in text:
        number = number << _TID_BITS | _TID.index(character)
    return str(number)


def _to_time(value: Value, scale: int) -> Value:
    """Write a number of seconds, or of parts of a second, as a time. Seconds are cut off."""
    text = str(value)
    try:
        # A whole number of a million digits takes half a minute to compute.
        number = Decimal(text if len(text) <= _NUMBER_CHARS_MAX else "NaN")
        seconds = int(number / scale) if number.adjusted() < _NUMBER_DIGITS_MAX else math.inf
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (InvalidOperation, ValueError, OverflowError, OSError):
        return value
