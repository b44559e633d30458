"""Counters, gauges and histograms of this process.

Before `attach`, and in commands, they count in memory that nobody reads. Each label has a closed
set of values: a value never comes from a request, because every new one takes memory for ever.
"""

import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from enum import StrEnum
from itertools import product
from typing import ClassVar

from openengagement.metrics.cells import Board, Series, Slot, private_slot


class Type(StrEnum):
    """The types of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric:
    """One metric: what the documentation says of it, and where its series are in the slot.

    The methods that count may be called from any thread.
    """

    type: ClassVar[Type]
    all: ClassVar[dict[str, "Metric"]] = {}  # by name, in the order of their definition
    size = 1  # numbers of a series
    _numbers: "memoryview[float]"
    _lock: threading.Lock

    def __init__(self, name: str, text: str, **labels: tuple[str, ...]) -> None:
        """Declare a metric. `labels` maps each label to its values; () for those of a table."""
        self.name = f"openengagement_{name}"
        self.text = text
        self.labels = labels
        # Values of the labels -> index of the series. Empty until there is a slot.
        self._places: dict[tuple[str, ...], int] = {}
        self.all[self.name] = self

    def create(self) -> None:
        """Create the series of all values of the labels, so that the first increase is seen."""
        for values in product(*self.labels.values()):
            self._locate(values)

    def _locate(self, values: tuple[str, ...]) -> int:
        """Return the index of the series with these values of the labels. It may be new."""
        slot = _Process.slot or _use(private_slot())
        pairs = zip(self.labels, values, strict=True)
        text = ",".join(f'{label}="{value}"' for label, value in pairs)
        place = self._places[values] = slot.locate(self.name, text, size=self.size)
        return place

    def use(self, slot: Slot) -> None:
        """Count in this slot from now on."""
        self._places, self._numbers, self._lock = {}, slot.numbers, slot.lock

    def forget(self) -> None:
        """Count in a new slot from now on."""
        self._places = {}


class _Process:
    """The slot of this process, and the board that it is on."""

    slot: Slot | None = None
    board: Board | None = None


def _use(slot: Slot) -> Slot:
    _Process.slot = slot
    for metric in Metric.all.values():
        metric.use(slot)
    return slot


def _forget() -> None:
    """Leave the slot to the process that has forked this one, which may be changing it now."""
    _Process.slot = _Process.board = None
    for metric in Metric.all.values():
        metric.forget()


os.register_at_fork(after_in_child=_forget)


class _Number(Metric):
    """A metric with one number for each series."""

    def add(self, amount: float, *values: str) -> None:
        """Add to the series with these values of the labels."""
        place = self._places.get(values)
        if place is None:
            place = self._locate(values)
        with self._lock:
            self._numbers[place] += amount


class Counter(_Number):
    """A sum that never decreases while the server runs."""

    type = Type.COUNTER


class Gauge(_Number):
    """A value that a process sets. It is gone when the process ends.

    Over all processes, the value is the sum, or the largest one if `largest` is true.
    """

    type = Type.GAUGE

    def __init__(
        self, name: str, text: str, *, largest: bool = False, **labels: tuple[str, ...]
    ) -> None:
        super().__init__(name, text, **labels)
        self.largest = largest

    def set(self, value: float, *values: str) -> None:
        """Set the series with these values of the labels."""
        place = self._places.get(values)
        if place is None:
            place = self._locate(values)
        with self._lock:
            self._numbers[place] = value


class Histogram(Metric):
    """Counts of values by size. `bounds` are the upper ends of the buckets."""

    type = Type.HISTOGRAM

    def __init__(
        self, name: str, text: str, *, bounds: tuple[float, ...], **labels: tuple[str, ...]
    ) -> None:
        super().__init__(name, text, **labels)
        self.bounds = bounds
        self.size = len(bounds) + 2  # one more for larger values, and the sum

    def observe(self, value: float, *values: str) -> None:
        """Count a value in the series with these values of the labels."""
        place = self._places.get(values)
        if place is None:
            place = self._locate(values)
        numbers = self._numbers
        with self._lock:
            numbers[place + bisect_left(self.bounds, value)] += 1
            numbers[place + self.size - 1] += value


def attach(path: str) -> None:
    """Count in the shared memory from now on. Gauges of an earlier process in the slot become 0.

    Raises:
        OSError: the memory cannot be used, so this process counts for itself.
    """
    board = Board(path)
    slot = board.claim()
    slot.clear([name for name, metric in Metric.all.items() if metric.type is Type.GAUGE])
    _Process.board = board
    _use(slot)
    for metric in Metric.all.values():
        if metric.type is not Type.GAUGE:
            metric.create()


def is_attached() -> bool:
    """Whether this process counts in shared memory."""
    return _Process.board is not None


def read_slots() -> Iterator[tuple[int, list[Series]]]:
    """Yield the series of all processes, as `Board.read`. Nothing if this process counts alone."""
    if _Process.board is not None:
        yield from _Process.board.read()


def is_first() -> bool:
    """Whether this process is the one that measures what all share."""
    return _Process.board is not None and _Process.board.is_first()
