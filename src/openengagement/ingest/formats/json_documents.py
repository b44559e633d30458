"""Split JSON documents into elements: those of an array, or objects that follow each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from openengagement.errors import MalformedBody

_NO_SERIES: Final = "body: is not a series of JSON objects"
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_QUOTE, _COMMA, _CLOSE = b'",}'
_STEPS: Final = np.zeros(256, np.int8)  # how a character changes the depth of nesting
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_IS_MARK: Final = _STEPS != 0
_IS_MARK[[_QUOTE, _COMMA]] = True


@dataclass(frozen=True, slots=True)
class Elements:
    """The complete elements at the start of a text: their number, and where they end.

    `next_start` is where the next element starts. `closed` says that the array ends at `end`.
    """

    count: int
    end: int
    next_start: int
    closed: bool


def split_document(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    """Split a JSON array, or JSON objects with white space between them, into elements.

    Raises:
        MalformedBody: the body is neither.
    """
    start = body.lstrip()[:1]
    if not start:
        raise MalformedBody("body: is empty; send a JSON array or JSON objects")
    if start == b"{":
        return _split_objects(body)
    try:
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"body: is not a JSON array: {error}") from None


def _split_objects(body: bytes) -> list[bytes]:
    positions, marks, depths = _scan(body)
    ends = positions[(marks == _CLOSE) & (depths == 0)] + 1
    starts = [0, *ends.tolist()]
    if (depths < 0).any():
        closing = positions[(depths < 0).argmax()]
        raise MalformedBody(f"{_NO_SERIES}: a bracket closes nothing (byte {closing})")
    if rest := body[starts[-1] :].lstrip():
        start = len(body) - len(rest)
        raise MalformedBody(f"{_NO_SERIES}: the last one does not end (byte {start})")
    return [body[start:end] for start, end in pairwise(starts)]


def find_elements(text: bytes) -> Elements:
    """Find the complete elements of a part of an array that starts at an element."""
    positions, marks, depths = _scan(text)
    closed = np.flatnonzero(depths < 0)[:1]
    inside = depths[: closed[0]] if len(closed) else depths
    commas = positions[: len(inside)][(inside == 0) & (marks[: len(inside)] == _COMMA)]
    if len(closed):
        end = int(positions[closed[0]])
        return Elements(len(commas) + 1, end, end + 1, closed=True)
    end = int(commas[-1]) if len(commas) else 0
    return Elements(len(commas), end, end + 1 if len(commas) else 0, closed=False)


def find_objects(text: bytes) -> Elements:
    """Find the complete objects of a part of a series of objects."""
    positions, marks, depths = _scan(text)
    ends = positions[(marks == _CLOSE) & (depths == 0)] + 1
    end = int(ends[-1]) if len(ends) else 0
    return Elements(len(ends), end, end, closed=False)


def _scan(
    text: bytes,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Find the brackets and commas outside of strings, and the depth of nesting after each."""
    if b"\\" in text:
        text = _ESCAPE.sub(b"__", text)
    letters = np.frombuffer(text, np.uint8)
    positions = np.flatnonzero(_IS_MARK[letters])
    marks = letters[positions]
    quotes = marks == _QUOTE
    outside = (np.cumsum(quotes, dtype=np.int32) % 2 == 0) & ~quotes
    positions, marks = positions[outside], marks[outside]
    return positions, marks, np.cumsum(_STEPS[marks], dtype=np.int32)
