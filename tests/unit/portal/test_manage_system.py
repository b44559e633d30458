"""The system page: figures of all processes, the rate of events, and what needs a look."""

import pytest

from openengagement.data_folder import DiskUsage
from openengagement.metrics import table
from openengagement.portal.manage_system import (
    IngestionRate,
    describe_ingestion,
    list_disk_notices,
    list_erasure_notices,
    list_faults,
    list_key_notices,
)
from openengagement.registry.platform_keys import PlatformKey
from support.cases import cases

DAY_S = 86_400
NAMES = (table.REJECTED, table.RECORDS, table.BATCHES, table.WAITING)


def values_of(**more):
    empty = {each.name: {} for each in (*NAMES, table.LAST_COMMIT, table.STARTED)}
    return {**empty, **more}


def test_rejected_events_are_listed_by_number():
    values = values_of(
        **{
            table.RECORDS.name: {
                'kind="events",result="accepted"': 12.0,
                'kind="events",result="rejected"': 5.0,
                'kind="tweets",result="accepted"': 99.0,
            },
            table.REJECTED.name: {
                'kind="events",reason="in_future"': 1.0,
                'kind="events",reason="unknown_type"': 4.0,
                'kind="events",reason="malformed"': 0.0,
                'kind="tweets",reason="invalid_url"': 7.0,
            },
        }
    )
    found = describe_ingestion(values, None)
    assert (found["accepted"], found["rejected"], found["last_commit_s"]) == (12, 5, None)
    assert [(each.reason, each.count) for each in found["reasons"]] == [
        ("unknown_type", 4),
        ("in_future", 1),
    ]
    assert all(each.hint for each in found["reasons"])


@cases("reason", table.REASONS)
def test_every_reason_has_a_hint(reason):
    values = values_of(**{table.REJECTED.name: {f'kind="events",reason="{reason}"': 1.0}})
    [found] = describe_ingestion(values, 0.0)["reasons"]
    assert found.hint


def test_no_rate_without_metrics():
    rate = IngestionRate(lambda: 0.0)
    rate.sample()
    assert rate.per_second() is None


def test_failing_parts_are_named():
    values = {table.FAULT.name: {'part="store"': 1.0, 'part="disk"': 0.0}}
    assert [text.split(" fails")[0] for text in list_faults(values)] == ["The check of the store"]
    assert list(list_faults({})) == []


@pytest.mark.parametrize(("free", "count"), [(10, 0), (9, 1), (0, 1)])
def test_a_full_disk_is_named(free, count):
    assert len(list(list_disk_notices(DiskUsage(1, 100, free)))) == count


@pytest.mark.parametrize(
    ("expires_s", "words"),
    [(None, None), (15 * DAY_S, None), (14 * DAY_S, "within two weeks"), (0, "has expired")],
)
def test_expiring_keys_are_named(expires_s, words):
    key = PlatformKey(b"\xa0" * 32, "ingest", 0, expires_at_s=expires_s)
    found = list(list_key_notices([key], 0.0))
    assert len(found) == (words is not None)
    assert all(words in text and "ingest (a0a0a0a0a0a0)" in text for text in found)


def test_unfinished_erasures_are_named():
    assert list(list_erasure_notices([])) == []
    assert "2 erased accounts" in next(list_erasure_notices([5, 6]))
