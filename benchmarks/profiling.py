"""Profile each endpoint and ingest: writes docs/benchmarks/profiles.md.

    python benchmarks/profiling.py [--quick]

Two samplers run one after the other over the same work. `perf` (Debian's linux-perf) finds the
library that each thread was in, the kernel included. `py-spy` finds the Python function; C and Rust
code counts for the function that called it. Both need root.
"""

import argparse
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

import product
import report
import serving
import sizes
import sustained
import world
from measure import cores, tree
from producers import Plan, producing
from serving import Case, RequestSource

PAGE = report.DOCS / "profiles.md"
PY_SPY = report.DOCS.parent.parent / ".venv-bench" / "bin" / "py-spy"
SAMPLES_PER_S = 199
ATTACH_S = 1.0
TOP = 15
SAMPLE_S = 10.0
FILES = 40  # of the stream, 10 million events
_LIBRARY = re.compile(r"\s*([\d.]+)%?\s*;[^;]*;\s*(\S.*?)\s*$")  # share, thread, library
# Threads without Python, and functions in which a thread waits.
NOT_WORK = (
    "process ",
    "Condition.wait ",
    "_worker ",
    "_end_with_parent ",
    "BodyReader.turn ",
    "socket.accept ",
    "main ",
)
Shares = list[tuple[float, str]]  # per cent, and what


def main() -> None:
    parser = argparse.ArgumentParser(description="Profile, write docs/benchmarks/profiles.md.")
    parser.add_argument("--quick", action="store_true", help="small; printed and not written")
    quick = parser.parse_args().quick
    amounts = sizes.QUICK if quick else sizes.FULL
    with tempfile.TemporaryDirectory(prefix="openengagement-profile-") as folder:
        parts = [
            _section(title, *shares)
            for title, shares in _profiles(Path(folder), amounts, SAMPLE_S * (0.2 if quick else 1))
        ]
    taken = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit {report.commit()}"
    text = "\n\n".join([f"Taken {taken}, on {report.machine()['cpu']}.", *parts])
    print(text)
    if not quick:
        report.write_between(PAGE, text)


def _profiles(
    folder: Path, amounts: sizes.Sizes, sample_s: float
) -> Iterator[tuple[str, tuple[Shares, Shares]]]:
    stream = sustained.make_stream(folder, amounts)
    files = stream.files[:FILES]
    yield (
        "`openengagement load events`",
        _both(lambda tool: _load(folder / tool, files, tool)),
    )
    yield (
        "`POST /platform/v1/events`, 8 producers, 2 workers",
        _both(lambda tool: _produce(folder / f"http-{tool}", stream.files, tool, sample_s)),
    )
    (folder / "world").mkdir()
    built = world.build(folder / "world")
    for title, make in (
        ("`/totals`, 250 Tweets x 7 types", serving.totals),
        ("`/28hr`, 25 Tweets x 17 types, hourly", serving.last_28_hours),
        ("`/historical`, 25 Tweets x 17 types x 672 hours, three groupings", serving.historical),
    ):
        with product.serving(built.data, core=cores()[0]) as server:
            source = RequestSource(built, server.port)
            case = Case(title, server, make(source), serving.SLOW_CONNECTIONS)
            case.warm_up(cores()[1], sample_s)
            yield title, _both(lambda tool: _ask(case, tool))  # noqa: B023 - called at once


def _both(profile: Callable[[str], Shares]) -> tuple[Shares, Shares]:
    return profile("perf"), profile("py-spy")


def _load(data: Path, files: list[Path], tool: str) -> Shares:
    command = product.Command(data, "load", "events", *map(str, files))
    with _recorded(tool, command.pid) as shares:
        command.wait()
    return shares


def _produce(data: Path, files: list[Path], tool: str, seconds: float) -> Shares:
    key = product.run(data, "platform-key", "issue", "bench").answer["platform_key"]
    with product.serving(data, workers=sustained.WORKERS) as server:
        plan = Plan(
            server.port,
            key,
            sustained.enough(files, ATTACH_S + seconds),
            sustained.BATCH_LINES,
            sustained.PRODUCERS,
        )
        with producing(plan), _recorded(tool, server.pid) as shares:
            time.sleep(seconds)
    return shares


def _ask(case: Case, tool: str) -> Shares:
    with _recorded(tool, case.server.pid) as shares:
        case.run(cores()[1])
    return shares


@contextmanager
def _recorded(tool: str, pid: int) -> Iterator[Shares]:
    """Sample a process tree while the block lasts; the shares are available after it."""
    shares: Shares = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples"
        process = subprocess.Popen(
            COMMANDS[tool](pid, path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(ATTACH_S)
        pids = tree(pid)
        yield shares
        process.send_signal(signal.SIGINT)
        process.wait()
        shares += READERS[tool](path, pids)


def _perf(_pid: int, path: Path) -> list[str]:
    # Sample all processes: for one process, perf would miss threads that start later.
    return ["perf", "record", "-F", str(SAMPLES_PER_S), "-a", "-o", str(path)]


def _py_spy(pid: int, path: Path) -> list[str]:
    options = ["--subprocesses", "--function", "--rate", str(SAMPLES_PER_S), "--format", "raw"]
    return [str(PY_SPY), "record", "--pid", str(pid), *options, "--output", str(path)]


def _libraries(path: Path, pids: list[int]) -> Shares:
    """Return the self time of these processes by library."""
    # Distinguish by thread: perf attributes what several processes share to the first one.
    chosen = ["--pid", ",".join(map(str, pids)), "--sort", "pid,dso", "--field-separator", ";"]
    command = ["perf", "report", "-i", str(path), *chosen, "--stdio", "-q"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    own: dict[str, float] = defaultdict(float)
    for each in map(_LIBRARY.match, text.splitlines()):
        if each:
            own[each[2]] += float(each[1])
    return _shares(own)


def _functions(path: Path, _pids: list[int]) -> Shares:
    """Return self time by Python function, of threads that run Python and do not wait."""
    own: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        stack, _, samples = line.rpartition(" ")
        name = stack.rpartition(";")[2]
        if not name.startswith(NOT_WORK):
            own[name] += int(samples)
    return _shares(own)


def _shares(own: Mapping[str, float]) -> Shares:
    total = sum(own.values()) or 1
    return sorted(((100 * part / total, name) for name, part in own.items()), reverse=True)


COMMANDS = {"perf": _perf, "py-spy": _py_spy}
READERS = {"perf": _libraries, "py-spy": _functions}


def _section(title: str, libraries: Shares, functions: Shares) -> str:
    """Format a heading and one table: libraries on the left, functions on the right."""
    lines = [f"### {title}", "", "| % | library | % | Python function |", "|--:|---|--:|---|"]
    for left, right in zip_longest(libraries[:TOP], functions[:TOP]):
        lines.append(f"| {_cells(left)} | {_cells(right)} |")
    return "\n".join(lines)


def _cells(share: tuple[float, str] | None) -> str:
    if share is None or share[0] < 0.05:
        return " | "
    return f"{share[0]:.1f} | `{share[1]}`"


if __name__ == "__main__":
    main()
