"""Counters -> the nested JSON of a grouping (api.md 1.2, 2.3).

The counters of an answer form a dense cube: Tweet x type x day x hour of day. A grouping sums away
the dimensions it does not name and turns the rest into its nesting order. What is left to do is
text: the shape of the JSON is known before any number is, so it is built once as a template,
sharing every part that repeats, and the numbers are poured in all at once: most have one digit,
which is laid into its slot. That is an order of magnitude quicker than building dictionaries of
strings, and the largest answer has 285,600 counts a grouping.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from openengagement.engagement.types import DAY_S, HOUR_S, Dimension
from openengagement.engagement.window import Window

HOURS_A_DAY: Final = DAY_S // HOUR_S
# The axes of the cube, in order.
_AXES: Final = (Dimension.TWEET, Dimension.TYPE, Dimension.DAY, Dimension.HOUR)
_DAY_AXIS: Final = _AXES.index(Dimension.DAY)

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_DIGIT_MAX: Final = 9
# Where more than one number in so many has several digits, formatting all is quicker than splicing.
_WIDE_SHARE: Final = 4
_NO_WINDOW: Final[Mask] = np.ones((1, 1), dtype=np.bool_)


class Cube(msgspec.Struct, frozen=True):
    """Counters of one answer: `counts[tweet, type, day, hour]`, and the keys of each axis.

    `inside[day, hour]` tells which hours lie inside the window. Where there is none (`/totals`)
    both axes have length 1.
    """

    counts: Counts
    keys: Mapping[Dimension, Sequence[str]]
    inside: Mask


def build_cube(
    counts: Counts, tweet_ids: Sequence[str], *, types: Sequence[str], window: Window | None
) -> Cube:
    """Lay `counts[tweet, type, hour of the window]` out by day and hour of day."""
    if window is None:
        keys = {Dimension.TWEET: tweet_ids, Dimension.TYPE: types}
        return Cube(counts[:, :, :, np.newaxis], keys, _NO_WINDOW)
    first_day, offset = divmod(window.start_hour, HOURS_A_DAY)
    days = -(-window.end_hour // HOURS_A_DAY) - first_day
    inside = np.zeros(days * HOURS_A_DAY, dtype=np.bool_)
    inside[offset : offset + window.hours] = True
    grid = np.zeros((len(tweet_ids), len(types), days * HOURS_A_DAY), dtype=np.int64)
    grid[:, :, offset : offset + window.hours] = counts
    day_keys = [
        datetime.fromtimestamp((first_day + day) * DAY_S, UTC).strftime("%Y-%m-%d")
        for day in range(days)
    ]
    keys = {
        Dimension.TWEET: tweet_ids,
        Dimension.TYPE: types,
        Dimension.DAY: day_keys,
        Dimension.HOUR: [f"{hour:02}" for hour in range(HOURS_A_DAY)],
    }
    shape = (days, HOURS_A_DAY)
    return Cube(grid.reshape(len(tweet_ids), len(types), *shape), keys, inside.reshape(shape))


def fold_grouping(group_by: tuple[Dimension, ...], cube: Cube) -> bytes:
    """The JSON object of one grouping: nested as `group_by` says, counts as strings."""
    omitted = tuple(axis for axis, name in enumerate(_AXES) if name not in group_by)
    counts, inside = cube.counts, cube.inside
    if any(counts.shape[axis] > 1 for axis in omitted):
        counts = counts.sum(axis=omitted, keepdims=True)
        omitted_times = tuple(axis - _DAY_AXIS for axis in omitted if axis >= _DAY_AXIS)
        inside = np.any(inside, axis=omitted_times, keepdims=True)
    order = [*(_AXES.index(name) for name in group_by), *omitted]
    values = counts.transpose(order)
    if inside.size > 1 and not inside.all():
        values = values[np.broadcast_to(inside, counts.shape).transpose(order)]
    numbers = values.ravel()
    wide = np.flatnonzero((numbers < 0) | (numbers > _DIGIT_MAX))
    if len(wide) * _WIDE_SHARE > len(numbers):
        template = _Template(cube.keys, "%d").render(group_by, inside)
        return (template % tuple(numbers.tolist())).encode()
    template = _Template(cube.keys, "\0").render(group_by, inside)
    return _lay(numbers, template.encode(), wide=wide)


def _lay(numbers: Counts, template: bytes, *, wide: Counts) -> bytes:
    """Lay numbers into the zero bytes of a template, and splice in those at the indices `wide`."""
    letters = np.frombuffer(bytearray(template), np.uint8)
    slots = np.flatnonzero(letters == 0)
    letters[slots] = ord("0") + numbers.astype(np.uint8)
    text = letters.tobytes()
    pieces: list[bytes] = []
    end = 0
    for slot, number in zip(slots[wide].tolist(), numbers[wide].tolist(), strict=True):
        pieces += (text[end:slot], b"%d" % number)
        end = slot + 1
    return b"".join([*pieces, text[end:]])


class _Template:
    """The text of a grouping with `slot` in place of each number."""

    def __init__(self, keys: Mapping[Dimension, Sequence[str]], slot: str) -> None:
        self._keys = keys  # ids, names of types, days and hours: nothing that JSON would escape
        self._slot = slot
        self._seen: dict[tuple[int, bytes], str] = {}

    def render(self, group_by: tuple[Dimension, ...], inside: Mask) -> str:
        if not group_by:
            return f'"{self._slot}"'
        # Days with the same hours in the window share one inner text, as do all Tweets and types.
        seen = (len(group_by), inside.tobytes())
        if seen not in self._seen:
            self._seen[seen] = self._render(group_by[0], group_by[1:], inside=inside)
        return self._seen[seen]

    def _render(self, name: Dimension, rest: tuple[Dimension, ...], *, inside: Mask) -> str:
        keys = self._keys[name]
        if name is Dimension.DAY:
            slices = [(key, inside[at : at + 1]) for at, key in enumerate(keys)]
        elif name is Dimension.HOUR:
            slices = [(key, inside[:, at : at + 1]) for at, key in enumerate(keys)]
        else:
            inner = self.render(rest, inside)
            return "{" + ",".join([f'"{key}":{inner}' for key in keys]) + "}"
        parts = [f'"{key}":{self.render(rest, part)}' for key, part in slices if part.any()]
        return "{" + ",".join(parts) + "}"
