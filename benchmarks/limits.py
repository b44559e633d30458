"""An upper limit for every parser: touch every byte of the events once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measure import Spread

NEWLINE = ord("\n")
BLOCK_BYTES = 1 << 17
FILES = 4  # more than any cache holds
TIMES = 5  # in a run: one pass is too short


def memory_copy(files: Sequence[Path], rounds: int) -> dict[str, dict[str, Spread]]:
    """Measure bytes/s, and the corresponding events/s, of one core reading from memory.

    `copy` copies into existing memory. `newlines` counts newlines, one block at a time, so that
    intermediate results stay in the core's cache.
    """
    data = b"".join(path.read_bytes() for path in files)
    source = np.frombuffer(data, dtype=np.uint8)
    target = np.zeros_like(source)
    events = data.count(b"\n")

    def copy() -> None:
        target[:] = source

    def newlines() -> None:
        for index in range(0, len(source), BLOCK_BYTES):
            np.count_nonzero(source[index : index + BLOCK_BYTES] == NEWLINE)

    figures = {}
    for once in (copy, newlines):
        took = [_took_s(once) for _ in range(rounds)]
        figures[once.__name__] = {
            "bytes_a_second": Spread.of([len(data) / each for each in took]),
            "events_a_second": Spread.of([events / each for each in took]),
        }
    return figures


def _took_s(once: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(TIMES):
        once()
    return (time.perf_counter() - began) / TIMES
