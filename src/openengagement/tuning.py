"""Settings of the operating system for this process: memory allocation and thread priority."""

import ctypes
import os
import sys
import threading
from typing import Final

# Options of glibc's mallopt, by their numbers in malloc.h, and their values.
_MALLOC: Final = {
    -8: 1,  # M_ARENA_MAX
    -3: 32 * 2**20,  # M_MMAP_THRESHOLD, the maximum
    -1: 64 * 2**20,  # M_TRIM_THRESHOLD: free memory to keep at the end of the heap
}
_LOW_PRIORITY: Final = 10


def configure_allocator() -> None:
    """Make all threads share one heap, and keep freed memory in the process.

    By default glibc gives each thread a heap, and our threads pass large columns to each other.
    Separate heaps use more memory in total, and the kernel must clear every page that it gets back.
    Call this before any thread starts, because a thread keeps the heap it has. Without glibc it
    does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)
        for number, value in _MALLOC.items():
            mallopt(number, value)


def lower_priority() -> None:
    """Run this thread, and threads that it starts, at low priority.

    For work that keeps a core busy for long while other threads answer requests.
    """
    if sys.platform == "linux":  # on other systems a thread has no priority of its own
        thread = threading.get_native_id()
        # A server that was started with a lower priority keeps it: only root may raise one.
        if os.getpriority(os.PRIO_PROCESS, thread) < _LOW_PRIORITY:
            os.setpriority(os.PRIO_PROCESS, thread, _LOW_PRIORITY)
