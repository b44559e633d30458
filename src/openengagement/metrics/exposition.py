"""Render the metrics of all processes in the text format of Prometheus."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from openengagement.metrics import table
from openengagement.metrics.cells import Series
from openengagement.metrics.metric import Gauge, Histogram, Metric, Type

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_TABLE: Final = [each for each in vars(table).values() if isinstance(each, Metric)]


def render(slots: Iterable[tuple[int, Sequence[Series]]]) -> str:
    """Render what `Board.read` returns. Series of several processes are added up."""
    found: dict[str, dict[str, list[tuple[float, ...]]]] = {
        metric.name: defaultdict(list) for metric in _TABLE
    }
    for pid, series in slots:
        for each in series:
            metric = Metric.all.get(each.name)
            # Another version of the server may have started a process that uses the slot.
            if metric is None or metric.size != len(each.numbers):
                continue
            if pid or metric.type is not Type.GAUGE:
                found[each.name][each.labels].append(each.numbers)
    return "".join(line for metric in _TABLE for line in _render_metric(metric, found[metric.name]))


def _render_metric(metric: Metric, series: dict[str, list[tuple[float, ...]]]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.text}\n# TYPE {metric.name} {metric.type}\n"
    merge = max if isinstance(metric, Gauge) and metric.largest else sum
    for labels in sorted(series):
        numbers = [merge(column) for column in zip(*series[labels], strict=True)]
        if isinstance(metric, Histogram):
            yield from _render_histogram(metric, labels, numbers=numbers)
        else:
            yield _sample(metric.name, labels, value=numbers[0])


def _render_histogram(metric: Histogram, labels: str, *, numbers: Sequence[float]) -> Iterator[str]:
    *counts, total = numbers
    bounds = [*map(repr, metric.bounds), "+Inf"]
    comma = "," if labels else ""
    for bound, count in zip(bounds, accumulate(counts), strict=True):
        yield _sample(f"{metric.name}_bucket", f'{labels}{comma}le="{bound}"', value=count)
    yield _sample(f"{metric.name}_sum", labels, value=total)
    yield _sample(f"{metric.name}_count", labels, value=sum(counts))


def _sample(name: str, labels: str, *, value: float) -> str:
    braced = f"{{{labels}}}" if labels else ""
    return f"{name}{braced} {int(value) if value == int(value) else value!r}\n"
