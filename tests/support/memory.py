"""The resident memory of a process and its descendants, while a block runs."""

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PROC: Final = Path("/proc")
_PAUSE_S: Final = 0.05


class MemoryWatch:
    """Watches the memory of a process tree while its block lasts, and keeps the maximum.

    A page that several processes share counts once (PSS): they are forks, or have mapped a file.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_bytes = 0

    def _watch(self) -> None:
        while not self._done.is_set():
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss_bytes, _tree(self._pid))))
            time.sleep(_PAUSE_S)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()


def _tree(pid: int) -> list[int]:
    found = [pid]
    for each in found:  # grows while it is read
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in (_PROC / str(each) / "task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
    return found


def _pss_bytes(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
