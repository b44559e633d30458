"""Print the tables of docs/scale.md: sizes, the balance of shards, and how batches share commits.

    .venv/bin/python benchmarks/scale.py              # prints them
    .venv/bin/python benchmarks/scale.py --write      # writes them into the page
    .venv/bin/python benchmarks/scale.py --higgs FILE # measures the skew of the Higgs week again

Nothing is measured here. Sizes follow from the figures of `make bench`, simulations from a seed.
"""

import argparse
import gzip
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from scale_figures import (
    HIGGS_BUSIEST_HOUR,
    HIGGS_EVENTS,
    HIGGS_HOURS,
    HIGGS_SHARES,
    MEASURED,
    STEPS,
)
from scale_simulation import (
    coalescing,
    folding,
    higgs_ranks,
    moved,
    shard_balance,
    wide_ranks,
)
from scale_sizing import cluster_rows, folder_rows, read_rows

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
REGIONS_MS = 30  # a round trip between two regions
TRIPS = 3  # of a commit: PostgreSQL twice, and the replica


def _table(head: str, rows: Iterable[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "|" + "---|" * columns, *rows])


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def inputs() -> str:
    return _table("| figure | value | where |", (each.row() for each in MEASURED.values()))


def sizes() -> str:
    head = _line("peak, events/s", *(step.name for step in STEPS))
    return _table(head, (_line(label, *cells) for label, cells in cluster_rows(STEPS)))


def folder() -> str:
    return _table(
        f"| one machine, {STEPS[0].name} events/s | |",
        (_line(*row) for row in folder_rows(STEPS[0])),
    )


def reads() -> str:
    return _table("| 1,000 `/totals` a second | |", (_line(*row) for row in read_rows()))


def balance() -> str:
    head = "| shards | Tweets, snowflake ids | Tweets, consecutive ids | events, snowflake ids |"
    rows = (
        _line(
            f"{each.shards}",
            f"{each.snowflake:.2f}",
            f"{each.consecutive:.2f}",
            f"{each.events:.2f}",
        )
        for each in shard_balance()
    )
    return _table(head, rows)


def skew() -> str:
    peak = HIGGS_BUSIEST_HOUR / (HIGGS_EVENTS / HIGGS_HOURS)
    names = {rank: f"the {rank:,} busiest" if rank > 1 else "the busiest" for rank in HIGGS_SHARES}
    rows = [_line(names[rank], f"{share:.1%}") for rank, share in HIGGS_SHARES.items()]
    rows.append(_line("the busiest hour, compared with the mean", f"{peak:.1f} times"))
    return _table("| Tweets of the Higgs week | share of its events |", rows)


def commits() -> str:
    head = "| skew | events in a commit | rows per event | busiest shard: events | rows |"
    kinds = {"Higgs week": higgs_ranks, "10 million Tweets": wide_ranks}
    rows = (
        _line(
            kind,
            f"{each.events:,}",
            f"{each.rows / each.events:.2f}",
            f"{each.busiest_events:.2f}",
            f"{each.busiest_rows:.2f}",
        )
        for kind, draw in kinds.items()
        for each in folding(draw)
    )
    return _table(head, rows)


def writers() -> str:
    head = (
        "| events/s of one writer | events in a batch | events in a commit | commits/s "
        "| answer after, p50 ms | p99 ms |"
    )
    cases = [(rate, size, 0) for rate in (10_000, 200_000, 1_000_000) for size in (500, 5_000)]
    cases.append((200_000, 5_000, REGIONS_MS * TRIPS))
    return _table(head, (_writer(*case) for case in cases))


def _writer(rate: int, size: int, more_ms: int) -> str:
    found = coalescing(rate, size, more_ms=more_ms)
    where = f", two regions {REGIONS_MS} ms apart" if more_ms else ""
    return _line(
        f"{rate:,}{where}",
        f"{size:,}",
        f"{found.events_per_commit:,.0f}",
        f"{found.commits_per_s:.1f}",
        f"{found.p50_ms:,.0f}",
        f"{found.p99_ms:,.0f}",
    )


def resharding() -> str:
    changes = ((2, 3), (3, 6), (8, 11), (11, 22))
    rows = (_line(f"{old} to {new}", f"{moved(old, new):.0%}") for old, new in changes)
    return _table("| shards | Tweets that move |", rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "inputs": inputs,
    "sizes": sizes,
    "reads": reads,
    "folder": folder,
    "balance": balance,
    "skew": skew,
    "commits": commits,
    "writers": writers,
    "resharding": resharding,
}


def rendered() -> Iterator[str]:
    """Yield each block as it stands on the page."""
    for name, render in BLOCKS.items():
        yield f"<!-- scale.py: {name} -->\n{render()}\n<!-- scale.py: end -->"


def write() -> None:
    """Replace the blocks of the page."""
    text = PAGE.read_text()
    for block in rendered():
        first = block.partition("\n")[0]
        pattern = re.compile(rf"{re.escape(first)}\n.*?<!-- scale.py: end -->", re.DOTALL)
        text, found = pattern.subn(lambda _, block=block: block, text)
        if found != 1:
            raise SystemExit(f"{PAGE.name} has {found} blocks {first}")
    PAGE.write_text(text)


def measure_higgs(path: Path) -> None:
    """Print the figures of the Higgs week, for scale_figures.py."""
    tweets: Counter[str] = Counter()
    hours: Counter[int] = Counter()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            _, target, at_s, _ = line.split()
            tweets[target] += 1
            hours[int(at_s) // 3600] += 1
    sums = list(accumulate(count for _, count in tweets.most_common()))
    shares = {rank: round(sums[rank - 1] / sums[-1], 4) for rank in HIGGS_SHARES}
    print(f"{len(tweets)} Tweets, {sums[-1]} events, {max(hours.values())} in an hour: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--higgs", type=Path)
    options = parser.parse_args()
    if options.higgs:
        measure_higgs(options.higgs)
    elif options.write:
        write()
    else:
        print("\n\n".join(rendered()))


if __name__ == "__main__":
    main()
