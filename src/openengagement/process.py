"""What this process asks of the machine: how freed memory is kept, which threads come first."""

import ctypes
import os
import sys
import threading
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc's malloc.h
_ARENAS: Final = 2
_LOW_PRIORITY: Final = 10


def share_arenas() -> None:
    """Have all threads share two heaps, where glibc would give each its own.

    What a thread frees is then used by the next: large columns go from hand to hand between ours,
    and a heap each holds a quarter more. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)(_M_ARENA_MAX, _ARENAS)


def give_way() -> None:
    """Let this thread, and those started from it, run when others need no core.

    For work that fills a core for long, beside the answers that somebody waits for.
    """
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
