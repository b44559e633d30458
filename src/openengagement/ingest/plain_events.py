"""Events in NDJSON whose lines are all written alike: one value of every line is read at a time.

Where lines have the same keys in the same order with the same spaces, what stands between two
values is one text. A cursor in each line skips that text, which must be there, and reads a value,
which must be in a plain form: positive ids, counts but zero, known types, times of UTC that do
not lie in the future. Such lines break no rule of `rows`. The others are left to the parser.

Letters are compared, and become numbers, eight at a time: the first in the lowest byte of a word.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from openengagement.engagement.rollup import EVENT_SCHEMA
from openengagement.engagement.types import EVENT_TYPES, ID_MAX
from openengagement.ingest.formats import count_line_ends
from openengagement.ingest.rows import COUNT_MAX

_Words = npt.NDArray[np.uint64]
_Read = Callable[["_Lines"], npt.NDArray[Any]]

BLOCK_BYTES: Final = 2 * 2**20  # read at a time: it fits a processor's caches
_GAP_BYTES_MAX: Final = 24
_VALUE_BYTES_MAX: Final = 32
_WINDOW_BYTES: Final = _GAP_BYTES_MAX + _VALUE_BYTES_MAX
_FIRST_LINE_BYTES_MAX: Final = 256
# Wherever a cursor goes, it gets no further than this beyond the text.
_ROOM_BYTES: Final = 7 * _WINDOW_BYTES
_MEMBER: Final = rb'[ \t]*"\w+"[ \t]*:[ \t]*(?:"[\w:.+-]+"|[\w:.+-]+)[ \t]*'
_LINE: Final = re.compile(rb"[ \t]*\{%b(?:,%b)*\}[ \t\r]*" % (_MEMBER, _MEMBER))
_VALUE: Final = re.compile(rb'"(?P<field>\w+)"[ \t]*:[ \t]*(?P<quote>"?)(?P<value>[\w:.+-]+)')
# The zone is the same in every line, so it belongs to what stands between two values.
_TIME: Final = re.compile(rb"([0-9:T-]+(?:\.(?P<fraction>[0-9]{1,6}))?)(?:[Zz]|\+00:?00)")
_DIGITS_MAX: Final = len(str(ID_MAX))


def _words(text: bytes) -> _Words:
    """A text as words, the last one filled up with zeros."""
    return np.frombuffer(text + bytes(-len(text) % 8), "<u8")


def _mask(size: int) -> bytes:
    """The bits of so many letters."""
    return b"\xff" * size


def _table(texts: list[bytes]) -> list[_Words]:
    """The first words of all texts, their second ones, and their third ones."""
    return list(np.stack([_words(text.ljust(24, b"\0")) for text in texts], axis=1))


_WORD: Final = 8
_ZEROS: Final = _words(b"0" * _WORD)
_TOPS: Final = _words(b"\x80" * _WORD)  # the highest bit of each byte
# Added to a byte below 0x80, it sets the highest bit from 10 up.
_TEN_UP: Final = _words(bytes([0x80 - 10] * _WORD))
_LOWEST: Final = _words(b"\xff")
_FIRST_AND_FIFTH: Final = _words(b"\xff\0\0\0" * 2)
_POWERS: Final = 10 ** np.arange(9, dtype=np.uint64)
# The quote that ends a type is looked at too: so none is the beginning of another.
_NAMES: Final = sorted(
    (f'{name}"'.encode() for name in EVENT_TYPES),
    key=lambda name: int.from_bytes(name[:8], "little"),
)
_NAME_WORDS: Final = _table(_NAMES)
_NAME_MASKS: Final = _table([_mask(len(name)) for name in _NAMES])
_NAME_SIZES: Final = np.array([len(name) - 1 for name in _NAMES])
_NAME_PLACES: Final = np.array([EVENT_TYPES.index(name[:-1].decode()) for name in _NAMES], np.uint8)
_MONTHS, _HOURS, _MINUTES, _SECONDS = 12, 24, 60, 60  # of what is next larger
# Days from 1970 to the first day of each month.
_FIRST_DAYS: Final = (
    np.arange("1970-01", "2200-02", dtype="M8[M]").astype("M8[D]").astype(np.uint64)
)


class _NotPlainError(Exception):
    """Most lines are not written like the first, or not plainly."""


class Others(NamedTuple):
    """Lines that are left to the parser: their text, and the number of each."""

    text: bytes
    lines: npt.NDArray[np.int64]


class _Lines:
    """The lines of a text side by side, with a cursor in each.

    Cursors of lines that are not plain go on, to wherever that leads them; nothing of it counts.
    """

    def __init__(self, text: memoryview) -> None:
        size = len(text) + (text[-1] != ord("\n"))
        letters = np.zeros(size + _ROOM_BYTES, np.uint8)
        letters[: len(text)] = text
        letters[size - 1] = ord("\n")
        self._letters = letters[:size]
        self._ends = np.flatnonzero(self._letters == ord("\n"))
        self._at = np.concatenate([[0], self._ends[:-1] + 1])
        self.plain = np.ones(len(self._ends), np.bool_)
        places = len(letters) - _WINDOW_BYTES
        self._windows = np.ndarray(places, f"V{_WINDOW_BYTES}", letters, strides=(1,))
        self._window = self._windows[:0]
        self._offset = 0  # of the cursors in the windows that were taken last

    def keep(self, plain: npt.NDArray[np.bool_]) -> None:
        """These lines may be plain, the others are not."""
        self.plain &= plain

    def skip(self, gap: bytes) -> None:
        """Move over a text that must stand at every cursor; `word` looks at what follows it."""
        self._window, self._offset = self._windows[self._at], 0
        for at, (word, mask) in enumerate(zip(_words(gap), _words(_mask(len(gap))), strict=True)):
            self.keep((self.word(at) ^ word) & mask == 0)
        if 2 * np.count_nonzero(self.plain) < len(self.plain):
            raise _NotPlainError
        self._offset = len(gap)
        self._at += len(gap)

    def word(self, at: int) -> _Words:
        """What stands this many words after every cursor."""
        step = self._window.itemsize
        return np.ndarray(len(self._at), "<u8", self._window, self._offset + 8 * at, (step,))

    def pass_by(self, sizes: int | npt.NDArray[np.int64]) -> None:
        """Move over values of so many letters."""
        self._at += sizes

    def end(self) -> None:
        """Every cursor must be at the end of its line."""
        self.keep(self._at == self._ends)

    def others(self) -> Others:
        """The lines that are not plain."""
        if self.plain.all():
            return Others(b"", np.zeros(0, np.int64))
        other = ~self.plain
        text = self._letters[np.repeat(other, np.diff(self._ends, prepend=-1))]
        return Others(text.tobytes(), np.flatnonzero(other) + 1)


def split_plain_events(body: bytes, *, latest_s: float) -> tuple[pl.DataFrame, Others]:
    """The plain lines of a body, as `rows.judge` would give them, and the others.

    The former are all good, a row each. `latest_s` is the latest time that does not lie in the
    future.
    """
    whole = memoryview(body)
    frames = [_no_rows()]
    others = [Others(b"", np.zeros(0, np.int64))]
    at = lines = 0
    while at < len(body):
        end = _block_end(body, at)
        rows, rest = _split_block(whole[at:end], latest_s=latest_s)
        frames.append(rows.with_columns(pl.col("line") + lines))
        others.append(Others(rest.text, rest.lines + lines))
        lines += rows.height + len(rest.lines)
        at = end
    plain = pl.concat(frames)
    numbers = np.concatenate([each.lines for each in others])
    text = b"".join(each.text for each in others) if plain.height else body
    return plain, Others(text, numbers)


def _block_end(body: bytes, at: int) -> int:
    """Where the lines from `at` on end that are read together."""
    end = at + BLOCK_BYTES
    if end >= len(body):
        return len(body)
    return body.rfind(b"\n", at, end) + 1 or body.find(b"\n", end) + 1 or len(body)


def _split_block(text: memoryview, *, latest_s: float) -> tuple[pl.DataFrame, Others]:
    """The same for some lines, numbered from 1."""
    try:
        members, tail = _shape(
            bytes(text[:_FIRST_LINE_BYTES_MAX]).partition(b"\n")[0], latest_s=latest_s
        )
        lines = _Lines(text)
        columns = {}
        for field, (gap, read) in members.items():
            lines.skip(gap)
            columns[field] = read(lines)
        lines.skip(tail)
        lines.end()
    except _NotPlainError:
        count = count_line_ends(text) + (text[-1] != ord("\n"))
        return _no_rows(), Others(bytes(text), np.arange(1, count + 1))
    return _rows_of(columns, lines.plain), lines.others()


def _rows_of(columns: dict[str, npt.NDArray[Any]], plain: npt.NDArray[np.bool_]) -> pl.DataFrame:
    rows = pl.DataFrame(
        {
            "line": np.arange(1, len(plain) + 1, dtype=np.uint32),
            "tweet_id": columns["tweet_id"],
            "type": pl.Series(columns["type"]).cat.to(EVENT_SCHEMA["type"]),
            "hour": columns["at"],
            "count": columns.get("count", np.ones(len(plain), np.int64)),
            "promoted": columns.get("promoted", np.zeros(len(plain), np.bool_)),
        }
    )
    return rows if plain.all() else rows.filter(plain)


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema={"line": pl.UInt32, **EVENT_SCHEMA})


def _shape(line: bytes, *, latest_s: float) -> tuple[dict[str, tuple[bytes, _Read]], bytes]:
    """Of each member of a line the text before its value, and what reads that; the last text."""
    if not _LINE.fullmatch(line):
        raise _NotPlainError
    members: dict[str, tuple[bytes, _Read]] = {}
    done = 0
    for found in _VALUE.finditer(line):
        field, begin = found["field"].decode(), found.start("value")
        read, size = _reader(field, found["value"], quoted=bool(found["quote"]), latest_s=latest_s)
        if field in members:
            raise _NotPlainError
        members[field] = (line[done:begin], read)
        done = begin + size
    gaps = [gap for gap, _ in members.values()] + [line[done:]]
    if not {"tweet_id", "type", "at"} <= members.keys() or max(map(len, gaps)) > _GAP_BYTES_MAX:
        raise _NotPlainError
    return members, line[done:]


def _reader(field: str, value: bytes, *, quoted: bool, latest_s: float) -> tuple[_Read, int]:
    """What reads such values, and how much of this one."""
    if field == "tweet_id":
        return partial(_read_numbers, most=ID_MAX), len(value)
    if field == "count":
        return partial(_read_numbers, most=COUNT_MAX, signed=True), len(value)
    if field == "promoted":
        return _read_flags, len(value)
    if field == "type" and quoted:
        return _read_types, len(value)
    if field == "at" and quoted and (time := _TIME.fullmatch(value)):
        fraction = len(time["fraction"] or b"")
        return partial(_read_times, fraction=fraction, latest_s=latest_s), time.end(1)
    raise _NotPlainError


def _read_numbers(lines: _Lines, *, most: int, signed: bool = False) -> npt.NDArray[np.int64]:
    """Whole numbers but zero, with no zeros before them.

    With a minus, where one may stand, they have seven digits at most.
    """
    words: _Words = np.stack([lines.word(at) for at in range(3)])
    minus = (words[0] & _LOWEST == ord("-")) & signed
    words[0] >>= minus.astype(np.uint64) << 3
    digits = words ^ _ZEROS
    others = ((digits + _TEN_UP) | digits) & _TOPS
    # Up to the first letter that is no digit, and nothing after a word that has one.
    sizes = np.bitwise_count((others & -others) - 1) >> 3
    sizes[1] *= sizes[0] == _WORD
    sizes[2] *= sizes[1] == _WORD
    lengths = sizes.sum(axis=0, dtype=np.int64)
    lines.keep((digits[0] & _LOWEST != 0) & (lengths <= _DIGITS_MAX))
    # What follows the digits is shifted out, and zeros come in before them.
    high, middle, low = _join(digits << (8 * (_WORD - sizes)).astype(np.uint64))
    numbers: _Words = (high * _POWERS[sizes[1]] + middle) * _POWERS[sizes[2]] + low
    lines.keep(numbers - 1 < most)
    lines.pass_by(lengths + minus)
    return np.where(minus, -1, 1) * numbers.astype(np.int64)


def _join(digits: _Words) -> _Words:
    """Words of eight digits, each 0 to 9, as numbers: pairs first, which are then added up."""
    pairs = 10 * digits + (digits >> 8)
    # Two of them by one multiplication, which adds them up in its upper half.
    outer = (pairs & _FIRST_AND_FIFTH) * (100 + (1_000_000 << 32))
    inner = (pairs >> 16 & _FIRST_AND_FIFTH) * (1 + (10_000 << 32))
    return outer + inner >> np.uint64(32)


def _read_types(lines: _Lines) -> npt.NDArray[np.uint8]:
    """Event types, as their places in EVENT_TYPES."""
    which = np.minimum(_NAME_WORDS[0].searchsorted(lines.word(0)), len(_NAMES) - 1)
    for at, (words, masks) in enumerate(zip(_NAME_WORDS, _NAME_MASKS, strict=True)):
        lines.keep((lines.word(at) ^ words[which]) & masks[which] == 0)
    lines.pass_by(_NAME_SIZES[which])
    places: npt.NDArray[np.uint8] = _NAME_PLACES[which]
    return places


def _read_flags(lines: _Lines) -> npt.NDArray[np.bool_]:
    word = lines.word(0)
    true, false = (word & _words(_mask(len(t))) == _words(t) for t in (b"true", b"false"))
    lines.keep(true | false)
    lines.pass_by(np.where(true, len("true"), len("false")))
    flags: npt.NDArray[np.bool_] = true
    return flags


def _read_times(lines: _Lines, *, fraction: int, latest_s: float) -> npt.NDArray[np.int32]:
    """Hour buckets of times such as 2026-11-22T10:15:00, with so many digits of a fraction."""
    form = b"0000-00-00T00:00:00" + (b"." + b"0" * fraction if fraction else b"")
    pairs = _read_pairs(lines, form)
    century, year, month, day, hour, minute, second = (
        pairs[at // _WORD] >> 8 * (at % _WORD) & _LOWEST for at in (0, 2, 5, 8, 11, 14, 17)
    )
    months = (100 * century + year - 1970) * _MONTHS + month - 1  # since 1970
    lines.keep((month - 1 < _MONTHS) & (months < len(_FIRST_DAYS) - 1))
    months = np.minimum(months, np.uint64(len(_FIRST_DAYS) - 2))
    days = _FIRST_DAYS[months] + day - 1
    lines.keep((day > 0) & (days < _FIRST_DAYS[months + 1]))
    lines.keep((hour < _HOURS) & (minute < _MINUTES) & (second < _SECONDS))
    hours: _Words = _HOURS * days + hour
    lines.keep((_MINUTES * hours + minute) * _SECONDS + second <= int(latest_s))
    lines.pass_by(len(form))
    return hours.astype(np.int32)


def _read_pairs(lines: _Lines, form: bytes) -> list[_Words]:
    """Text like `form`, any digits for its zeros; each byte ten times itself, plus the next."""
    rises = _words(bytes(0x80 - (10 if letter == ord("0") else 1) for letter in form))
    pairs: list[_Words] = []
    for at, (word, rise, mask) in enumerate(
        zip(_words(form), rises, _words(_mask(len(form))), strict=True)
    ):
        digits = (lines.word(at) ^ word) & mask
        lines.keep(((digits + rise) | digits) & _TOPS == 0)
        pairs.append(10 * digits + (digits >> 8))
    return pairs
