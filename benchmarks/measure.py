"""What is measured and how: spreads of runs, CPU time and memory of a tree of processes."""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Spread:
    """Runs of one figure: median, lowest, highest."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values), len(values))

    def show(self, form: str = ",.0f") -> str:
        """The median, and the range in brackets."""
        if self.runs == 1:
            return format(self.median, form)
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:  # grows while it is read
        found += children.get(each, [])
    return found


def cpu_s(pid: int) -> float:
    """User and system time that a process and its living descendants have used so far."""
    ticks = 0
    for each in tree(pid):
        if fields := _stat(each):
            ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_S


def memory_mib(pid: int) -> dict[str, float]:
    """Resident memory of a tree: RSS counts shared pages in each process, PSS once."""
    sums = {"Rss": 0, "Pss": 0}
    for each in tree(pid):
        fields = _stat(each)
        if fields is None or fields[0] == "Z":
            continue  # ended; it has no memory any more
        for line in (PROC / str(each) / "smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in sums:
                sums[name] += int(rest.split()[0])
    return {name.lower(): kib / 1024 for name, kib in sums.items()}


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def cores() -> tuple[int, int]:
    """One core for the server and one for the load, the same when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]
