"""How this process keeps memory it has freed."""

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8  # glibc's malloc.h
_ARENAS: Final = 2


def share_arenas() -> None:
    """Have all threads share two heaps, where glibc would give each its own.

    What a thread frees is then used by the next: large columns go from hand to hand between ours,
    and a heap each holds a quarter more. Elsewhere than on glibc nothing happens.
    """
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)(_M_ARENA_MAX, _ARENAS)
