"""Fold the counters of an answer into the nested JSON of a grouping (api.md 1.2, 2.3).

The counters form a data cube: a dense array over Tweet, type, day and hour of day. A grouping sums
over the dimensions that it does not name, and nests the others in its order.

The text is rendered first, as a template with a one-byte slot for each count; parts that repeat are
rendered only once. Then all counts of one digit are written into their slots together, and longer
counts are spliced in. This is ten times as fast as building dictionaries of strings. The largest
answer has 285,600 counts in a grouping.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from openengagement.engagement.counters import max_magnitude_of
from openengagement.engagement.types import DAY_S, HOUR_S, Dimension, utc_datetime
from openengagement.engagement.window import Window

HOURS_A_DAY: Final = DAY_S // HOUR_S
# The axes of a cube, in order.
_AXES: Final = (Dimension.TWEET, Dimension.TYPE, Dimension.DAY, Dimension.HOUR)
_DAY_AXIS: Final = _AXES.index(Dimension.DAY)

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Keys = Mapping[Dimension, Sequence[int] | Sequence[str]]

_DIGIT_MAX: Final = 9
# If more than one count in this many has several digits, formatting all of them is faster.
_WIDE_SHARE: Final = 4
_NO_WINDOW: Final[Mask] = np.ones((1, 1), dtype=np.bool_)


class Cube(msgspec.Struct, frozen=True):
    """The counters of an answer: `counts[tweet, type, day, hour]`, and the keys of each axis.

    The keys are ids of Tweets, names of types, days and hours. JSON need not escape them.

    `inside[day, hour]` is true for hours inside the window. Without a window (`/totals`) the last
    two axes have length 1.
    """

    counts: Counts
    keys: Keys
    inside: Mask


def build_cube(
    counts: Counts, tweet_ids: Sequence[int], *, types: Sequence[str], window: Window | None
) -> Cube:
    """Split the last axis of `counts[tweet, type, hour of the window]` into day and hour of day."""
    if window is None:
        totals: Keys = {Dimension.TWEET: tweet_ids, Dimension.TYPE: types}
        return Cube(counts[:, :, :, np.newaxis], totals, _NO_WINDOW)
    first_day, offset = divmod(window.start_hour, HOURS_A_DAY)
    days = -(-window.end_hour // HOURS_A_DAY) - first_day
    hours = slice(offset, offset + window.hours)
    inside = np.zeros(days * HOURS_A_DAY, dtype=np.bool_)
    inside[hours] = True
    grid = np.zeros((len(tweet_ids), len(types), days * HOURS_A_DAY), dtype=np.int64)
    grid[:, :, hours] = counts
    day_keys = [utc_datetime((first_day + day) * DAY_S).strftime("%Y-%m-%d") for day in range(days)]
    keys: Keys = {
        Dimension.TWEET: tweet_ids,
        Dimension.TYPE: types,
        Dimension.DAY: day_keys,
        Dimension.HOUR: [f"{hour:02}" for hour in range(HOURS_A_DAY)],
    }
    shape = (days, HOURS_A_DAY)
    return Cube(grid.reshape(len(tweet_ids), len(types), *shape), keys, inside.reshape(shape))


def fold_grouping(group_by: tuple[Dimension, ...], cube: Cube) -> bytes:
    """Render the JSON object of a grouping, nested as `group_by` says, with counts as strings."""
    if group_by == _AXES[:_DAY_AXIS] and Dimension.DAY not in cube.keys:
        return _fold_totals(cube)
    omitted = tuple(axis for axis, name in enumerate(_AXES) if name not in group_by)
    counts, inside = cube.counts, cube.inside
    if any(counts.shape[axis] > 1 for axis in omitted):
        counts = _sum(counts, omitted)
        omitted_times = tuple(axis - _DAY_AXIS for axis in omitted if axis >= _DAY_AXIS)
        inside = np.any(inside, axis=omitted_times, keepdims=True)
    order = [*(_AXES.index(name) for name in group_by), *omitted]
    values = counts.transpose(order)
    if inside.size > 1 and not inside.all():
        values = values[np.broadcast_to(inside, counts.shape).transpose(order)]
    numbers = values.ravel()
    if numbers.dtype == object:
        template = _Template(cube.keys, "%d").render(group_by, inside)
        return (template % tuple(numbers)).encode()
    wide = np.flatnonzero((numbers < 0) | (numbers > _DIGIT_MAX))
    if len(wide) * _WIDE_SHARE > len(numbers):
        template = _Template(cube.keys, "%d").render(group_by, inside)
        return (template % tuple(numbers.tolist())).encode()
    template = _Template(cube.keys, "\0").render(group_by, inside)
    return _fill_slots(template.encode(), numbers, wide=wide)


def _fold_totals(cube: Cube) -> bytes:
    """Render totals by Tweet and type, as nearly every request to `/totals` asks.

    The template of a Tweet is repeated, and all ids and counts are filled in together.
    """
    tweet_ids, types = cube.keys[Dimension.TWEET], cube.keys[Dimension.TYPE]
    counts = ",".join([f'"{name}":"%d"' for name in types])
    tweets = f'"%d":{{{counts}}},'.encode() * len(tweet_ids)
    numbers = np.empty((len(tweet_ids), 1 + len(types)), np.int64)
    numbers[:, 0], numbers[:, 1:] = tweet_ids, cube.counts[:, :, 0, 0]
    return b"{%b}" % (tweets[:-1] % tuple(numbers.ravel().tolist()))


def _sum(counts: Counts, axes: tuple[int, ...]) -> npt.NDArray[Any]:
    """Sum over these axes. The result holds Python integers if 64 bits might be too few."""
    terms = prod(counts.shape[axis] for axis in axes)
    # The bits of all counts bound each of them, if none is negative, and are found in one pass.
    bound = int(np.bitwise_or.reduce(counts, axis=None))
    if bound < 0:
        bound = max_magnitude_of(counts)
    wide = counts.astype(object) if bound * terms > np.iinfo(np.int64).max else counts
    summed: npt.NDArray[Any] = wide.sum(axis=axes, keepdims=True)
    return summed


def _fill_slots(template: bytes, numbers: Counts, *, wide: Counts) -> bytes:
    """Write digits into the zero bytes of a template. Splice in the numbers indexed by `wide`."""
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

    def __init__(self, keys: Keys, slot: str) -> None:
        self._keys = keys
        self._slot = slot
        self._rendered: dict[tuple[int, bytes], str] = {}

    def render(self, group_by: tuple[Dimension, ...], inside: Mask) -> str:
        if not group_by:
            return f'"{self._slot}"'
        # Days with the same hours in the window share a text, and so do all Tweets and types.
        key = (len(group_by), inside.tobytes())
        if key not in self._rendered:
            self._rendered[key] = self._render(group_by[0], group_by[1:], inside=inside)
        return self._rendered[key]

    def _render(self, name: Dimension, rest: tuple[Dimension, ...], *, inside: Mask) -> str:
        keys = self._keys[name]
        if name is Dimension.DAY:
            slices = [(key, inside[index : index + 1]) for index, key in enumerate(keys)]
        elif name is Dimension.HOUR:
            slices = [(key, inside[:, index : index + 1]) for index, key in enumerate(keys)]
        else:
            inner = self.render(rest, inside)
            return "{" + ",".join([f'"{key}":{inner}' for key in keys]) + "}"
        parts = [f'"{key}":{self.render(rest, part)}' for key, part in slices if part.any()]
        return "{" + ",".join(parts) + "}"
