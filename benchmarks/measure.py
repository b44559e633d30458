"""Measurements: spreads of runs, CPU time and memory of a process tree."""

import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
WATCH_EVERY_S = 0.5
# A server that uses less than this for so long has finished its compactions. Four idle processes
# used up to 0.045 on a machine where each thread that wakes up finds cold caches.
IDLE_CORES = 0.1
IDLE_FOR_S = 2.0
# After another process has loaded files: a server looks for new segments twice a minute.
IDLE_AFTER_LOAD_S = 33.0
IDLE_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The runs of one figure: median, minimum, maximum."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), len(values))

    def show(self, form: str = ",.0f") -> str:
        """Format the median, with the range in brackets."""
        if self.runs == 1:
            return format(self.median, form)
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


@dataclass(frozen=True, slots=True)
class Series:
    """One figure as a function of another, which a plot draws as a line."""

    x: list[float]
    y: list[float]


def ratios(over: Sequence[float], under: Sequence[float]) -> Spread:
    """Divide each run by its neighbour; the runs took turns."""
    return Spread.of([a / b for a, b in zip(over, under, strict=True)])


def disk_bytes(folder: Path) -> int:
    """Add up the disk usage of a folder's files, in whole blocks."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def tree(pid: int) -> list[int]:
    """List a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:  # grows while it is read
        found += children.get(each, [])
    return found


def cpu_s(pid: int) -> float:
    """Return the user and system time of a process and its descendants, ended ones included."""
    ticks = 0
    for each in tree(pid):
        if fields := _stat(each):
            ticks += sum(map(int, fields[11:15]))  # its own, and that of children it waited for
    return ticks * TICK_S


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of one process: RSS counts a shared page in each process, PSS once in all."""

    rss_mib: float
    pss_mib: float


def memory(pid: int) -> list[Memory]:
    """Return the memory of each process of a tree."""
    found = []
    for each in tree(pid):
        try:
            text = (PROC / str(each) / "smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        kib = {line.partition(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
        if kib:  # a process that nobody waited for yet has no memory any more
            found.append(Memory(int(kib["Rss"]) / 1024, int(kib["Pss"]) / 1024))
    return found


def memory_mib(pid: int) -> dict[str, float]:
    """Return the memory of a whole tree."""
    seen = memory(pid)
    return {"rss": sum(each.rss_mib for each in seen), "pss": sum(each.pss_mib for each in seen)}


def wait_until_idle(pid: int, *, for_s: float = IDLE_FOR_S) -> None:
    """Wait until a process tree that gets no requests uses no CPU.

    Raises:
        RuntimeError: it never becomes idle.
    """
    give_up = time.perf_counter() + IDLE_WITHIN_S
    before = cpu_s(pid)
    while time.perf_counter() < give_up:
        time.sleep(for_s)
        now = cpu_s(pid)
        if now - before < IDLE_CORES * for_s:
            return
        before = now
    raise RuntimeError(f"a server without requests is still busy after {IDLE_WITHIN_S:.0f} s")


class MemoryWatch(threading.Thread):
    """Watches the memory of a process tree while its block lasts, and keeps the maximum."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._left = threading.Event()
        self.process_rss_mib = 0.0  # of any one process
        self.process_pss_mib = 0.0
        self.pss_mib = 0.0  # of all together

    def run(self) -> None:
        while not self._left.wait(WATCH_EVERY_S):
            seen = memory(self._pid)
            self.process_rss_mib = max(self.process_rss_mib, *(each.rss_mib for each in seen), 0)
            self.process_pss_mib = max(self.process_pss_mib, *(each.pss_mib for each in seen), 0)
            self.pss_mib = max(self.pss_mib, sum(each.pss_mib for each in seen))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self.join()


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on; None if the process has ended."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def cores() -> tuple[int, int]:
    """Choose one core for the server and one for the load; the same one if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]
