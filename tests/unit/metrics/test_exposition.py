"""The text of a scrape, in the format of Prometheus."""

import math
import re

import pytest

from openengagement.metrics import table
from openengagement.metrics.cells import Series
from openengagement.metrics.exposition import render
from openengagement.metrics.metric import Histogram, Metric, Type, attach
from support.cases import cases

SAMPLE = re.compile(
    r"openengagement_[a-z_]+(?:\{(?:[a-z]+=\"[^\"\\\n]*\",?)+\})? (?:-?\d+(?:\.\d+)?(?:e-?\d+)?)"
)


def test_the_whole_text(path, scrape):
    attach(path)
    table.COMMIT_SECONDS.observe(0.005)  # a bound belongs to its bucket
    table.COMMIT_SECONDS.observe(0.0051)
    table.COMMIT_SECONDS.observe(0.03)
    table.COMMIT_SECONDS.observe(1000)
    found = scrape()
    name = "openengagement_commit_duration_seconds"
    buckets = {key: value for key, value in found.items() if key.startswith(f"{name}_bucket")}
    assert buckets[f'{name}_bucket{{le="0.005"}}'] == 1
    assert buckets[f'{name}_bucket{{le="0.01"}}'] == 2
    assert buckets[f'{name}_bucket{{le="0.025"}}'] == 2
    assert buckets[f'{name}_bucket{{le="0.05"}}'] == 3
    assert buckets[f'{name}_bucket{{le="60.0"}}'] == 3
    assert buckets[f'{name}_bucket{{le="+Inf"}}'] == 4
    assert found[f"{name}_count"] == 4
    assert math.isclose(found[f"{name}_sum"], 1000.0401)


def test_every_line_is_of_the_format(path):
    from openengagement.metrics.cells import Board

    attach(path)
    table.REQUEST_SECONDS.observe(0.1, "/insights/engagement/totals")
    table.REQUESTS.add(1, "/platform/v1/tweets/{id}", "404", "not_found")
    table.MEASURED.set(1.7e9 + 0.25)
    table.DISK_BYTES.set(2**50 + 1)
    text = render(Board(path).read())
    assert text.endswith("\n")
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or SAMPLE.fullmatch(line), line
    assert f"openengagement_disk_bytes {2**50 + 1}\n" in text  # all digits
    assert "openengagement_measured_timestamp_seconds 1700000000.25\n" in text


def test_a_metric_has_one_head_even_without_samples():
    text = render([])
    for metric in Metric.all.values():
        assert text.count(f"# TYPE {metric.name} {metric.type}\n") == 1


@pytest.mark.parametrize(
    "series",
    [
        Series("openengagement_of_another_version", "", (1.0,)),
        Series("openengagement_commit_duration_seconds", "", (1.0, 2.0)),
        Series("openengagement_workers", "", (1.0, 2.0, 3.0)),
    ],
)
def test_series_of_another_version_are_left_out(series):
    assert render([(1, [series])]) == render([])


@cases("metric", Metric.all.values(), ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric):
    assert re.fullmatch(r"openengagement_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.type is Type.COUNTER)
    assert metric.text.endswith(".") or metric is table.BUILD
    assert "\n" not in metric.text
    assert "\\" not in metric.text
    if isinstance(metric, Histogram):
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.name.endswith("_seconds")
    for values in metric.labels.values():
        assert all(re.fullmatch(r"[a-z_]+", value) for value in values)


def test_closed_labels_are_those_of_their_tables():
    from openengagement.api.health import _PARTS
    from openengagement.ingest.rows import ACCOUNTS, EVENTS, TWEETS, DropReason

    assert set(table.REASONS) == set(DropReason)
    assert set(table.PARTS) == set(_PARTS.values())
    assert set(table.KINDS) == {EVENTS.name, TWEETS.name, ACCOUNTS.name}
