"""Close and remove segment files. No reader and no commit waits until the disk has freed them."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from openengagement.stores.embedded.segments import Segment

# Free a large file in steps of this size. A single step would delay the commits that run meanwhile.
_FREED_BYTES: Final = 16 * 2**20
_FREED_EVERY_S: Final = 0.02
_CLOSE_AFTER_S: Final = 0.5  # longer than any read that was under way
_PATIENCE_S: Final = 2.0


def close_later(segments: list[Segment]) -> None:
    """Empty this list a moment later, in another thread.

    Dropping the last reference to a removed file takes until the disk has freed it. No reader
    should wait for that.
    """

    def close() -> None:
        time.sleep(_CLOSE_AFTER_S)
        segments.clear()

    threading.Thread(target=close, name="close-segments", daemon=True).start()


def remove_segments(paths: Sequence[Path], *, stopping: Callable[[float], bool]) -> None:
    """Remove files, and free their space in small steps once no process uses them.

    A file that has another name stays whole: its content is part of a snapshot that was made with
    hard links. `stopping` waits for the given seconds and returns whether the process is stopping.
    If so, or if a file stays in use for long, the system frees the rest later.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("r+b")).fileno() for path in paths]
        for path in paths:
            path.unlink()
        give_up = time.monotonic() + _PATIENCE_S
        for file in files:
            status = os.fstat(file)
            if status.st_nlink:  # nothing can link a file any more that has no name
                continue
            size = status.st_size
            while size > _FREED_BYTES and not _is_unused(file):
                if time.monotonic() > give_up or stopping(_FREED_EVERY_S):
                    return
            while size > _FREED_BYTES and not stopping(_FREED_EVERY_S):
                size -= _FREED_BYTES
                os.ftruncate(file, size)


def _is_unused(file: int) -> bool:
    """Whether no process maps this file. From then on, `open_segment` refuses it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
