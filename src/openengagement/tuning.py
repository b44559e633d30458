"""What this process asks of the machine: how freed memory is kept, which threads come first."""

import ctypes
import os
import sys
import threading
from typing import Final

# Options of glibc's mallopt, by their numbers in malloc.h, and their values.
_MALLOC: Final = {
    -8: 1,  # M_ARENA_MAX
    -3: 32 * 2**20,  # M_MMAP_THRESHOLD: the most that it takes
    -1: 64 * 2**20,  # M_TRIM_THRESHOLD: so much is kept at the heap's end
}
_LOW_PRIORITY: Final = 10


def configure_allocator() -> None:
    """Have all threads share one heap, where glibc would give each its own, and keep what is freed.

    What a thread frees is then used by the next: large columns go from hand to hand between ours.
    Heaps apart hold more, and of what goes back to the kernel every page is cleared before it is
    used again. Call it before there are threads: those that have a heap keep it. Elsewhere than on
    glibc nothing happens.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        for number, value in _MALLOC.items():
            mallopt(number, value)


def lower_priority() -> None:
    """Let this thread, and those started from it, run when others need no core.

    For work that fills a core for long, beside the answers that somebody waits for.
    """
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
