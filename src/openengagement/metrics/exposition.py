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


Slots = Iterable[tuple[int, Sequence[Series]]]
# Name of a metric -> labels as text -> the numbers of each process
_Found = dict[str, dict[str, list[tuple[float, ...]]]]


def render(slots: Slots) -> str:
    """Render what `Board.read` returns. Series of several processes are added up."""
    found = _collect(slots)
    return "".join(line for metric in _TABLE for line in _render_metric(metric, found[metric.name]))


def add_up(slots: Slots) -> dict[str, dict[str, float]]:
    """Add up the counters and gauges of all processes: name of the metric -> labels -> value.

    Labels are the text of a scrape, such as `kind="events"`.
    """
    found = _collect(slots)
    return {
        metric.name: {
            labels: _merge(metric, numbers)[0] for labels, numbers in found[metric.name].items()
        }
        for metric in _TABLE
        if not isinstance(metric, Histogram)
    }


def _collect(slots: Slots) -> _Found:
    found: _Found = {metric.name: defaultdict(list) for metric in _TABLE}
    for pid, series in slots:
        for each in series:
            metric = Metric.all.get(each.name)
            # Another version of the server may have started a process that uses the slot.
            if metric is None or metric.size != len(each.numbers):
                continue
            if pid or metric.type is not Type.GAUGE:
                found[each.name][each.labels].append(each.numbers)
    return found


def _merge(metric: Metric, numbers: Sequence[tuple[float, ...]]) -> list[float]:
    merge = max if isinstance(metric, Gauge) and metric.largest else sum
    return [merge(column) for column in zip(*numbers, strict=True)]


def _render_metric(metric: Metric, series: dict[str, list[tuple[float, ...]]]) -> Iterator[str]:
    yield f"# HELP {metric.name} {metric.text}\n# TYPE {metric.name} {metric.type}\n"
    for labels in sorted(series):
        numbers = _merge(metric, series[labels])
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
