"""Folders of earlier versions are upgraded. The old tables are written out by hand."""

import sqlite3

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.contract import Position
from openengagement.stores.embedded import upgrade

COUNTS = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in TYPE_NAMES)
OLD = f"""
CREATE TABLE tweets (
    tweet_id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, created_at_s INTEGER NOT NULL,
    video_id INTEGER, deleted INTEGER NOT NULL
) STRICT;
CREATE INDEX tweets_by_video ON tweets (video_id) WHERE video_id IS NOT NULL;
CREATE TABLE totals (tweet_id INTEGER PRIMARY KEY, {COUNTS}) STRICT;
CREATE TABLE hours (
    tweet_id INTEGER NOT NULL, hour INTEGER NOT NULL, {COUNTS}, PRIMARY KEY (tweet_id, hour)
) STRICT, WITHOUT ROWID;
CREATE TABLE videos (video_id INTEGER PRIMARY KEY, video_views INTEGER NOT NULL) STRICT;
CREATE TABLE batches (
    key BLOB PRIMARY KEY, digest BLOB NOT NULL, outcome BLOB NOT NULL, applied_at_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (applied_at_s);
"""
BY_AUTHOR = """
CREATE INDEX tweets_by_author
ON tweets (author_id, deleted, created_at_s DESC, tweet_id DESC);
"""


def make_old(path, version):
    db = sqlite3.connect(path)
    db.executescript(OLD + (BY_AUTHOR if version == 2 else ""))
    db.executemany(
        "INSERT INTO tweets VALUES (?, 7, 1000, ?, 0)", [(5, 70), (6, 70), (8, None), (9, None)]
    )
    hours = [(5, 10, 3, 2), (5, 11, -1, 0), (6, 10, 0, 4), (8, 490_000, 2**40, 0), (9, 3, 0, 9)]
    db.executemany(
        "INSERT INTO hours (tweet_id, hour, replies, video_views) VALUES (?, ?, ?, ?)", hours
    )
    db.execute(
        "INSERT INTO totals (tweet_id, replies, video_views) "
        "SELECT tweet_id, sum(replies), sum(video_views) FROM hours GROUP BY tweet_id"
    )
    db.execute("INSERT INTO videos VALUES (70, 6)")
    db.execute("INSERT INTO batches VALUES (x'6b', x'64', x'6f', 1795342000)")
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.close()


@pytest.mark.parametrize("rows_at_once", [1, 2, 100])
@pytest.mark.parametrize("version", upgrade.WITH_ROWS)
def test_everything_is_still_there(open_store, path, monkeypatch, version, rows_at_once):
    monkeypatch.setattr(upgrade, "_ROWS_AT_ONCE", rows_at_once)
    make_old(path, version)

    for _ in range(2):  # the second time, nothing is moved
        store = open_store()
        totals = store.read_totals([5, 6, 8, 9], ["replies", "video_views"])
        assert totals.tolist() == [[2, 6], [0, 6], [2**40, 0], [0, 9]]
        hours = store.read_buckets([5], ["replies", "video_views"], start_hour=10, end_hour=12)
        assert hours.tolist() == [[[3, -1], [2, 0]]]
        assert [tweet.tweet_id for tweet in store.list_tweets(7, limit=9)] == [9, 8, 6, 5]
        store.close()


def test_version_3_gains_changes_of_videos(open_store, path):
    made = open_store()
    db = made._database.connection()
    db.execute("DROP TRIGGER note_video")
    db.execute("DROP TABLE positions")
    db.execute("PRAGMA user_version = 3")
    made.close()

    store, other = open_store(), open_store()
    store.apply_tweets(make_tweets((5, 7, 1000, 1, None), (6, 7, 1000, 2, None)))
    store.apply_batches([make_batch([(5, 1, {"video_views": 3}), (6, 1, {"video_views": 9})])])
    assert store.read_totals([5], ["video_views"]).tolist() == [[3]]
    other.apply_tweets(make_tweets((5, 7, None, 2, None)))
    assert store.read_totals([5], ["video_views"]).tolist() == [[12]]


def test_version_4_gains_positions(open_store, path):
    made = open_store()
    made.apply_batches([make_batch([(5, 1, {"replies": 3})])])
    db = made._database.connection()
    db.execute("DROP TABLE positions")
    db.execute("PRAGMA user_version = 4")
    made.close()

    for index in range(2):  # the second time there is nothing to upgrade
        store = open_store()
        assert store.read_position("log") == (b"0" if index else None)
        store.apply_batches([make_batch([], position=Position("log", b"%d" % index))])
        assert store.read_totals([5], ["replies"]).tolist() == [[3]]
        store.close()


def test_old_keys_are_kept(open_store, path):
    make_old(path, 2)
    db = open_store()._database.connection()
    known = db.execute("SELECT key, outcome FROM batches").fetchall()
    assert known == [(b"k", b"o")]


def test_an_interrupted_upgrade_leaves_the_old_data(open_store, path, monkeypatch):
    make_old(path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "_drop_rows", lambda _db: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            open_store()

    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    assert db.execute("SELECT count(*) FROM hours").fetchone() == (5,)
    db.close()
    assert open_store().read_totals([9], ["video_views"]).tolist() == [[9]]
