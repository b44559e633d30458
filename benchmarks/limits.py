"""What no parser can be faster than: touching every byte of the events once."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measure import Spread

NEWLINE = ord("\n")
TIMES = 5  # in a run: one pass is too short


def memory_copy(files: Sequence[Path], rounds: int) -> dict[str, dict[str, Spread]]:
    """Bytes/s, and the events/s they come to, on one core, from memory.

    Copying into memory that is already there, and counting newlines.
    """
    data = b"".join(path.read_bytes() for path in files)
    source = np.frombuffer(data, dtype=np.uint8)
    target = np.zeros_like(source)
    events = data.count(b"\n")

    def copy() -> None:
        target[:] = source

    passes: dict[str, Callable[[], object]] = {
        "copy": copy,
        "count_newlines": lambda: np.count_nonzero(source == NEWLINE),
    }
    figures = {}
    for name, once in passes.items():
        took = [_took_s(once) for _ in range(rounds)]
        figures[name] = {
            "bytes_a_second": Spread.of([len(data) / each for each in took]),
            "events_a_second": Spread.of([events / each for each in took]),
        }
    return figures


def _took_s(once: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(TIMES):
        once()
    return (time.perf_counter() - began) / TIMES
