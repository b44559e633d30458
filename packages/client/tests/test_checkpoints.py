"""An interrupted query goes on where it stopped, and its file is that of one without a stop."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from both_clients import QUICK, USER
from openengagement_client import (
    AsyncEngagementClient,
    EngagementClient,
    InvalidQuery,
    NotFound,
    Options,
    historical_query,
    last_28_hours_query,
    totals_query,
)

TYPES = ("favorites", "retweets")
ONE = Options(concurrency=1)
IDS = [str(each) for each in range(1, 2101)]


def write_sync(url, query, path, **more):
    with EngagementClient(url, USER, policy=QUICK, options=ONE) as client:
        return client.write(query, path, **more)


def write_async(url, query, path, **more):
    async def write():
        async with AsyncEngagementClient(url, USER, policy=QUICK, options=ONE) as client:
            return await client.write(query, path, **more)

    return asyncio.run(write())


@pytest.fixture(params=[write_sync, write_async], ids=["sync", "async"])
def write(request):
    return request.param


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["x.csv", "x.ndjson"])
@pytest.mark.parametrize("stops", [(1,), (2, 3), (3, 1, 1)])
def test_files_are_those_of_one_query(write, misbehaving, tmp_path, name, stops):
    misbehaving.foreign = {"900", "901", "2000"}
    misbehaving.unavailable = {"7", *IDS[510:760]}
    whole, path = tmp_path / f"whole.{name}", tmp_path / name
    expected = write(misbehaving.url, totals_query(IDS, TYPES), whole)
    for number, stop in enumerate(stops):
        misbehaving.faults.extend([*[""] * stop, "404"])
        with pytest.raises(NotFound):
            write(misbehaving.url, totals_query(iter(IDS), TYPES), path, resume=number > 0)
        misbehaving.faults.clear()
        assert not path.exists()
    asked = len(misbehaving.bodies)
    found = write(misbehaving.url, totals_query(IDS, TYPES), path, resume=True)
    assert path.read_bytes() == whole.read_bytes()
    for each in (whole, path):
        listed = each.with_name(f"{each.name}.excluded.ndjson")
        assert len(listed.read_text().splitlines()) == 254
    assert found == expected
    assert len(misbehaving.bodies) - asked < 9 + 2
    assert len(list(tmp_path.iterdir())) == 4


def test_until_now_stays_when_it_was(write, misbehaving, tmp_path):
    """The query goes on the next day, with the window of the day before."""
    now = datetime.fromtimestamp(misbehaving.now_s(), UTC)
    query = historical_query(IDS[:60], TYPES, groupings=["tweet.id", "engagement.day"])
    misbehaving.faults.extend(["", "404"])
    with pytest.raises(NotFound):
        write(misbehaving.url, query, tmp_path / "x.csv")
    misbehaving.clock_offset_s += timedelta(days=1).total_seconds()
    write(misbehaving.url, query, tmp_path / "x.csv", resume=True)
    days = {line.split(",")[1] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]}
    assert max(days) <= f"{now + timedelta(minutes=2):%Y-%m-%d}"
    assert 28 <= len(days) <= 29


def test_what_cannot_go_on(write, misbehaving, tmp_path):
    def resume(query, name="x.csv"):
        with pytest.raises(InvalidQuery) as caught:
            write(misbehaving.url, query, tmp_path / name, resume=True)
        return str(caught.value)

    query = totals_query(IDS, TYPES)
    assert "nothing is known" in resume(query)
    for name in ("x.csv", "x.parquet"):
        misbehaving.faults.extend(["", "404"])
        with pytest.raises(NotFound):
            write(misbehaving.url, query, tmp_path / name)
    assert "nothing is known" in resume(query, "x.parquet")
    assert "another one" in resume(totals_query(IDS, ["favorites"]))
    assert "moved on" in resume(last_28_hours_query(IDS, TYPES))
    (tmp_path / "x.csv.partial").write_text("")
    assert "is not what" in resume(query)
    (tmp_path / "x.csv.resume.json").write_text("{")
    assert "nothing is known" in resume(query)


def test_a_new_query_forgets_an_interrupted_one(write, misbehaving, tmp_path):
    for faults in (["", "404"], ["404"]):
        misbehaving.faults.extend(faults)
        with pytest.raises(NotFound):
            write(misbehaving.url, totals_query(IDS, TYPES), tmp_path / "x.csv")
    with pytest.raises(InvalidQuery):
        write(misbehaving.url, totals_query(IDS, TYPES), tmp_path / "x.csv", resume=True)
