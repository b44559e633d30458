"""The file that says how a platform's own rows become events (docs/mapping.md)."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from openengagement.files import UnusableFile

ANY: Final = "*"  # in `when`: any value but none


class FieldRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a field of an event comes from, and how its value is translated, in this order.

    `field` is the path of the row's field, with dots between the names. Without one, `value` is the
    value. `pattern` is a regular expression, and its first group becomes the value. `values` names
    translations. `decode` reads a record key of the AT Protocol as a number. `unit` is that of a
    time since 1970. `zone` is that of a time without one.
    """

    field: str = ""
    value: str | int | bool | None = None
    pattern: str = ""
    values: dict[str, str] = {}
    decode: Literal["", "tid"] = ""
    unit: Literal["", "s", "ms", "us", "ns"] = ""
    zone: Literal["", "UTC"] = ""


Source = str | FieldRule  # a text is the path of a field


class EventRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event that a row becomes if every field in `when` has one of its values."""

    tweet_id: Source
    type: Source
    at: Source
    count: Source | None = None
    promoted: Source | None = None
    when: dict[str, str | list[str]] = {}


class _MapFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    event: list[EventRule]
    unmatched: Literal["refuse", "ignore"] = "refuse"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping. A row may fit several rules, and becomes an event for each.

    `ignores` tells whether a row that fits none is ignored, or else rejected. `digest` is that of
    the file.
    """

    rules: tuple[EventRule, ...]
    ignores: bool
    digest: bytes


def read_mapping(path: Path) -> Mapping:
    """Read a mapping.

    Raises:
        UnusableFile: it is none; the text says why.
    """
    try:
        content = path.read_bytes()
        found = msgspec.toml.decode(content, type=_MapFile)
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path} is no mapping: {error}") from error
    if not found.event:
        raise UnusableFile(f"{path} has no [[event]]")
    for rule in found.event:
        for name in ("tweet_id", "type", "at", "count", "promoted"):
            _verify(getattr(rule, name), name=name, path=path)
    return Mapping(
        tuple(found.event), found.unmatched == "ignore", hashlib.sha256(content).digest()
    )


def _verify(source: Source | None, *, name: str, path: Path) -> None:
    """Verify what the types of the file cannot say.

    Raises:
        UnusableFile
    """
    if source is None or isinstance(source, str):
        return
    if bool(source.field) == (source.value is not None):
        raise UnusableFile(f"{path}: {name} needs either field or value")
    try:
        groups = re.compile(source.pattern).groups
    except re.error as error:
        raise UnusableFile(f"{path}: the pattern of {name} is wrong: {error}") from error
    if source.pattern and not groups:
        raise UnusableFile(f"{path}: the pattern of {name} has no group in parentheses")
    if (source.unit or source.zone) and name != "at":
        raise UnusableFile(f"{path}: unit and zone are for at, not for {name}")
