"""Split JSON documents into elements: those of an array, or objects that follow each other."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from openengagement.errors import MalformedBody
from openengagement.ingest.formats.text_rows import too_many_lines

_NO_SERIES: Final = "body: is not a series of JSON objects"
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_QUOTE, _COMMA, _CLOSE = b'",}'
_BLOCK_BYTES: Final = 2**20
_COMMAS_PER_ELEMENT: Final = 8  # more than most events have, whose elements are then not counted
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


def split_document(body: bytes, *, elements_max: int) -> Sequence[bytes | msgspec.Raw]:
    """Split a JSON array, or JSON objects with white space between them, into elements.

    An element of one character takes 60 bytes. So if there may be far too many, count them first.

    Raises:
        MalformedBody: the body is neither.
        BodyTooLarge: there are more than `elements_max` elements.
    """
    start = body.lstrip()[:1]
    if not start:
        raise MalformedBody("body: is empty; send a JSON array or JSON objects")
    if start == b"{":
        return _split_objects(body, elements_max)
    if body.count(b",") > _COMMAS_PER_ELEMENT * elements_max:
        _count_elements(body, elements_max)
    try:
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedBody(f"body: is not a JSON array: {error}") from None


def _split_objects(body: bytes, elements_max: int) -> list[bytes]:
    starts = [0]
    for offset, found in _scan_blocks(body):
        if (found.depths < 0).any():
            closing = offset + found.positions[(found.depths < 0).argmax()]
            raise MalformedBody(f"{_NO_SERIES}: a bracket closes nothing (byte {closing})")
        ends = found.positions[(found.marks == _CLOSE) & (found.depths == 0)] + 1
        starts += (ends + offset).tolist()
        if len(starts) - 1 > elements_max:
            raise too_many_lines(elements_max)
    if rest := body[starts[-1] :].lstrip():
        start = len(body) - len(rest)
        raise MalformedBody(f"{_NO_SERIES}: the last one does not end (byte {start})")
    return [body[start:end] for start, end in pairwise(starts)]


def _count_elements(body: bytes, elements_max: int) -> None:
    commas = 0
    for _, found in _scan_blocks(body):
        commas += int(np.count_nonzero((found.marks == _COMMA) & (found.depths == 1)))
        if commas >= elements_max:
            raise too_many_lines(elements_max)


def find_elements(text: bytes) -> Elements:
    """Find the complete elements of a part of an array that starts at an element."""
    positions, marks, depths, _ = _scan(text)
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
    positions, marks, depths, _ = _scan(text)
    ends = positions[(marks == _CLOSE) & (depths == 0)] + 1
    end = int(ends[-1]) if len(ends) else 0
    return Elements(len(ends), end, end, closed=False)


class _Found(NamedTuple):
    """The brackets and commas outside of strings, and the depth of nesting after each.

    `in_string` tells whether a string is open at the end of the text.
    """

    positions: npt.NDArray[np.int64]
    marks: npt.NDArray[np.uint8]
    depths: npt.NDArray[np.int32]
    in_string: bool


def _scan_blocks(text: bytes) -> Iterator[tuple[int, _Found]]:
    """Scan a text in blocks, with little memory. Yield the offset of each block, and its result."""
    start = depth = 0
    in_string = False
    while start < len(text):
        block = text[start : start + _BLOCK_BYTES]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:  # do not cut an escape
            block = text[start : start + _BLOCK_BYTES + 1]
        found = _scan(block, in_string=in_string, depth=depth)
        yield start, found
        depth = int(found.depths[-1]) if len(found.depths) else depth
        in_string = found.in_string
        start += len(block)


def _scan(text: bytes, *, in_string: bool = False, depth: int = 0) -> _Found:
    if b"\\" in text:
        text = _ESCAPE.sub(b"__", text)
    letters = np.frombuffer(text, np.uint8)
    positions = np.flatnonzero(_IS_MARK[letters])
    marks = letters[positions]
    quotes = marks == _QUOTE
    is_inside = np.cumsum(quotes, dtype=np.int32) % 2 != in_string
    outside = ~(is_inside | quotes)
    ends_inside = bool(is_inside[-1]) if len(is_inside) else in_string
    positions, marks = positions[outside], marks[outside]
    depths = np.cumsum(_STEPS[marks], dtype=np.int32) + np.int32(depth)
    return _Found(positions, marks, depths, ends_inside)
