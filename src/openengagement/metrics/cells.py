"""The numbers behind the metrics, in memory that all processes of a server share.

The supervisor creates the memory (`create`). It consists of slots. Each process claims one, and is
the only one that writes to it; the supervisor reads all of them. A slot outlives its process: the
next process that claims it continues with its numbers, so that no counter ever decreases.

A slot has a header (the pid), the numbers, and a directory. A line of the directory names a series,
and says how many numbers it has. The numbers of all series follow each other in the order of the
lines. A line is appended before the length of the directory is, so readers see whole lines only.
"""

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

SLOTS: Final = 80  # more than the processes of the largest server
_SLOT_BYTES: Final = 1 << 18  # the kernel allocates only the pages that are used
_NUMBERS: Final = 1 << 13  # at most, in a slot; 8 bytes each
_NUMBER_BYTES: Final = 8
_DIRECTORY_AT: Final = _NUMBERS * _NUMBER_BYTES
_DIRECTORY_BYTES: Final = _SLOT_BYTES - _DIRECTORY_AT
# Indices of numbers: the header, room for the series that do not fit, then the first series.
_PID, _USED, _UNREAD, _FIRST = 0, 1, 2, 34
# `struct flock` of Linux. Locks on this open file end with the process, and other descriptors of
# the same memory do not affect them, as they would affect locks of fcntl.lockf.
_LOCK: Final = struct.Struct("hhqqi4x")
_BOARD_BYTES: Final = SLOTS * _SLOT_BYTES


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a slot: the metric's name, the labels as text, and the numbers."""

    name: str
    labels: str
    numbers: tuple[float, ...]


class Slot:
    """The numbers of one process. `add`, `put` and `locate` may be called from any thread."""

    def __init__(self, memory: memoryview, *, file: int | None = None) -> None:
        self._file = file  # keeps the lock
        self._directory = memory[_DIRECTORY_AT:_SLOT_BYTES]
        self.numbers = memory[:_DIRECTORY_AT].cast("d")
        self.lock = threading.Lock()  # guards every change of a number
        self._next = _FIRST
        self._places: dict[str, int] = {}
        for line, place, size in _places_in(memory):
            self._places[line] = place
            self._next = place + size

    def locate(self, name: str, labels: str, *, size: int) -> int:
        """Return the index of a series of `size` numbers, at most 32. Add the series if it is new.

        If the slot is full, the numbers at the index are not read.
        """
        line = f"{size} {name} {labels}"
        with self.lock:
            if line in self._places:
                return self._places[line]
            encoded = f"{line}\n".encode()
            used, place = int(self.numbers[_USED]), self._next
            if used + len(encoded) > _DIRECTORY_BYTES or place + size > _NUMBERS:
                return _UNREAD
            self._directory[used : used + len(encoded)] = encoded
            self.numbers[_USED] = used + len(encoded)
            self._places[line] = place
            self._next = place + size
            return place

    def clear(self, names: Collection[str]) -> None:
        """Set the numbers of these metrics to 0."""
        for line, place in self._places.items():
            size, name, _ = line.split(" ", 2)
            if name in names:
                for index in range(place, place + int(size)):
                    self.numbers[index] = 0.0


def private_slot() -> Slot:
    """Return a slot that nobody reads."""
    return Slot(memoryview(bytearray(_SLOT_BYTES)))


def create() -> tuple[int, str]:
    """Create the memory. Return its descriptor, and a path at which all processes can open it.

    It exists as long as a process has it open, and has no file. Linux only.
    """
    file = os.memfd_create("openengagement-metrics")
    os.truncate(file, _BOARD_BYTES)
    return file, f"/proc/{os.getpid()}/fd/{file}"


class Board:
    """The memory at a path that `create` returned.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR)
        self._memory = memoryview(mmap.mmap(self._file, _BOARD_BYTES))

    def claim(self) -> Slot:
        """Claim a free slot until this process ends.

        Raises:
            OSError: no slot is free.
        """
        for number in range(SLOTS):
            if _try_lock(self._file, number):
                memory = self._slot(number)
                slot = Slot(memory, file=self._file)
                slot.numbers[_PID] = os.getpid()
                return slot
        raise OSError("there are more processes than slots for their metrics")

    def is_first(self) -> bool:
        """Whether this process is the one that measures what all share. It stays so until it ends.

        Another process becomes the first one when this one has ended.
        """
        return _try_lock(self._file, SLOTS)

    def read(self) -> Iterator[tuple[int, list[Series]]]:
        """Yield the pid and the series of each slot. The pid is 0 if no process has the slot."""
        probe = os.open(self._path, os.O_RDWR)  # of its own, as locks do not exclude their holder
        try:
            for number in range(SLOTS):
                memory = self._slot(number)
                numbers = memory[:_DIRECTORY_AT].cast("d")
                if not numbers[_USED]:
                    continue
                series = [
                    Series(*_name_and_labels(line), tuple(numbers[place : place + size].tolist()))
                    for line, place, size in _places_in(memory)
                ]
                yield int(numbers[_PID]) if _is_locked(probe, number) else 0, series
        finally:
            os.close(probe)

    def _slot(self, number: int) -> memoryview:
        return self._memory[number * _SLOT_BYTES : (number + 1) * _SLOT_BYTES]


def _places_in(memory: memoryview) -> Iterator[tuple[str, int, int]]:
    """Yield each line of a slot's directory, the index of its first number, and its size."""
    used = int(memory[:_DIRECTORY_AT].cast("d")[_USED])
    place = _FIRST
    for line in bytes(memory[_DIRECTORY_AT : _DIRECTORY_AT + used]).decode().splitlines():
        size = int(line.partition(" ")[0])
        yield line, place, size
        place += size


def _name_and_labels(line: str) -> tuple[str, str]:
    _, name, labels = line.split(" ", 2)
    return name, labels


def _try_lock(file: int, number: int) -> bool:
    wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_locked(file: int, number: int) -> bool:
    asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0)
    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked)
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK
