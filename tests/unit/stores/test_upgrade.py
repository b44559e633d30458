"""Folders of earlier versions are upgraded. The old tables are written out by hand."""

import sqlite3

import pytest

from contract.deltas import make_batch, make_contents, make_deltas, make_tweets
from openengagement.engagement.counters import HOUR_MAX
from openengagement.engagement.types import TYPE_NAMES
from openengagement.files import UnusableFile
from openengagement.stores.contract import Position
from openengagement.stores.embedded import manifest, upgrade
from openengagement.stores.embedded.compaction import Compactor

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


def drop_contents(db):
    """Remove what version 10 added."""
    db.execute("DROP TRIGGER drop_content")
    db.execute("DROP TRIGGER forget_content")
    db.execute("DROP TABLE contents")


def downgrade(store):
    """Make a new, empty store one of version 5. Return its connection."""
    db = store._database.connection()
    drop_contents(db)
    db.execute("DROP TRIGGER note_replaced")
    for table in ("videos", "ledger_time", "clock_jumps", "unlisted_files"):
        db.execute(f"DROP TABLE {table}")
    db.execute("ALTER TABLE segments DROP COLUMN checksum")
    db.execute("ALTER TABLE tweets RENAME COLUMN video_number TO video_id")
    db.execute("PRAGMA user_version = 5")
    return db


def test_version_3_gains_changes_of_videos(open_store, path):
    made = open_store()
    db = downgrade(made)
    db.execute("DROP TRIGGER note_video")
    db.execute("DROP TABLE positions")
    db.execute("PRAGMA user_version = 3")
    made.close()

    store, other = open_store(), open_store()
    store.apply_tweets(make_tweets((5, 7, 1000, "1", None), (6, 7, 1000, "2", None)))
    store.apply_batches([make_batch([(5, 1, {"video_views": 3}), (6, 1, {"video_views": 9})])])
    assert store.read_totals([5], ["video_views"]).tolist() == [[3]]
    other.apply_tweets(make_tweets((5, 7, None, "2", None)))
    assert store.read_totals([5], ["video_views"]).tolist() == [[12]]


def test_version_4_gains_positions(open_store, path):
    made = open_store()
    made.apply_batches([make_batch([(5, 1, {"replies": 3})])])
    db = downgrade(made)
    db.execute("DROP TABLE positions")
    db.execute("PRAGMA user_version = 4")
    made.close()

    for index in range(2):  # the second time there is nothing to upgrade
        store = open_store()
        assert store.read_position("log") == (b"0" if index else None)
        reached = Position("log", b"%d" % index, b"0" if index else None)
        store.apply_batches([make_batch([], position=reached)])
        assert store.read_totals([5], ["replies"]).tolist() == [[3]]
        store.close()


def make_version_5(store, videos):
    """Fill a new store like one of version 5: a Tweet per video number, with one view."""
    views = [(tweet_id, 1, {"video_views": 1}) for tweet_id in videos]
    shared = [(-number, HOUR_MAX, {"video_views": 1}) for number in videos.values() if number]
    with store._database.writing() as writing:
        manifest.add_segment(writing, make_deltas(views + shared), read_segments=list)
    db = downgrade(store)
    for tweet_id, number in videos.items():
        db.execute("INSERT INTO tweets VALUES (?, 7, 1000, ?, 0)", (tweet_id, number))
    store.close()


def views(store, *tweet_ids):
    return store.read_totals(tweet_ids, ["video_views"])[:, 0].tolist()


def test_video_numbers_of_version_5_become_text(open_store):
    make_version_5(open_store(), {5: 70, 6: 70, 8: 2**63 - 1, 9: 1, 10: None})

    for index in range(3):  # the first time, the folder is upgraded
        store = open_store()
        assert views(store, 5, 6, 8, 9, 10) == [2 + index, 2 + index, 1 + index, 1, 1]
        store.apply_tweets(
            make_tweets(
                (100 + index, 7, 1000, "70", None), (200 + index, 7, 1000, str(2**63 - 1), None)
            )
        )
        new = [(100 + index, 2, {"video_views": 1}), (200 + index, 2, {"video_views": 1})]
        store.apply_batches([make_batch(new)])
        store.close()


def test_new_videos_get_numbers_that_no_old_video_has(open_store):
    """Also when an old video has the largest number, so that SQLite cannot add 1 to it."""
    make_version_5(open_store(), {5: 2**63 - 1, 6: 1, 8: 2})
    store = open_store()
    texts = ["13_1", "1-1", "3", "9223372036854775808", "x"]
    store.apply_tweets(
        make_tweets(*((100 + index, 7, 1000, text, None) for index, text in enumerate(texts)))
    )
    ids = [100 + index for index in range(len(texts))]
    store.apply_batches([make_batch([(each, 2, {"video_views": 10 + each}) for each in ids])])

    assert views(store, 5, 6, 8, *ids) == [1, 1, 1, *(10 + each for each in ids)]
    numbers = store.read_videos([5, 6, 8, *ids])
    assert len(set(numbers.values())) == 3 + len(texts)
    assert all(0 < number < 2**63 for number in numbers.values())


def test_a_running_server_of_version_5_stores_no_number_of_another_video(open_store, path):
    """It fails, because its column has another name now."""
    open_store().apply_tweets(make_tweets((5, 7, 1000, "13_70", None)))
    old = sqlite3.connect(path)
    register = "INSERT INTO tweets VALUES (6, 7, 1000, 1, 0) ON CONFLICT DO UPDATE SET {}"
    with pytest.raises(sqlite3.OperationalError, match="no such column: video_id"):
        old.execute(register.format("video_id = coalesce(1, video_id)"))
    with pytest.raises(sqlite3.OperationalError, match="no such column: video_id"):
        old.execute("SELECT 1 FROM tweets WHERE video_id IS NOT NULL LIMIT 1")
    old.close()


def test_an_interrupted_upgrade_of_video_ids_leaves_the_old_data(open_store, path, monkeypatch):
    make_version_5(open_store(), {5: 70, 6: 70})
    with monkeypatch.context() as patch:
        patch.setattr(upgrade.tweets, "VIDEOS", upgrade.tweets.VIDEOS + "; SELECT * FROM nothing")
        with pytest.raises(sqlite3.OperationalError):
            open_store()

    assert views(open_store(), 5, 6) == [2, 2]


@pytest.mark.parametrize("version", [5, 8, 9])
def test_folders_of_earlier_versions_gain_contents(open_store, version):
    made = open_store()
    if version == 5:
        make_version_5(made, {5: 70, 6: None})
    elif version == 8:
        make_version_8(made)
    else:
        db = made._database.connection()
        drop_contents(db)
        db.execute("PRAGMA user_version = 9")
        made.close()

    for index in range(2):  # the second time, there is nothing to upgrade
        store = open_store()
        before = store.read_contents([5, 6])
        assert [each.text for each in before.values()] == ["Fog.", "Rain."] * index
        store.apply_tweets(
            make_contents((5, False, "Fog.", None, None), (6, None, "Rain.", None, None))
        )
        store.close()


def test_a_running_server_of_version_9_erases_the_text_of_a_deleted_tweet(open_store, path):
    """It knows nothing of the table. Triggers of the database remove the rows."""
    rows = ((each, None, f"text {each}", None, None) for each in (5, 6, 8))
    store = open_store()
    store.apply_tweets(make_contents(*rows))
    old = sqlite3.connect(path)
    with old:
        old.execute("UPDATE tweets SET deleted = 1 WHERE tweet_id = 5")
        old.execute("DELETE FROM tweets WHERE tweet_id = 6")
    old.close()
    assert [*store.read_contents([5, 6, 8])] == [8]


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


# Files that an older version left after a crash


LEFT = f"{'a' * 32}.segment"


def make_version_8(store, *, left=(), version=8):
    """Make a store with counters one of version 8, with files that no record lists."""
    store.apply_batches([make_batch([(5, 1, {"replies": 3})])])
    store.prune(oldest_hour=0)  # moves all counters to a segment file
    db = store._database.connection()
    drop_contents(db)
    db.execute("DROP TRIGGER note_replaced")
    db.execute("DROP TABLE unlisted_files")
    db.execute(f"PRAGMA user_version = {version}")
    store.close()
    for name in left:
        (store._folder / name).write_bytes(b"left")


def test_files_left_by_a_crash_of_an_older_version_are_kept(open_store, capfd, monkeypatch):
    """One of them could be listed by a newer database, so none is removed."""
    names = [LEFT, f"{'b' * 32}.segment"]
    with monkeypatch.context() as patch:  # a thread would log that it misses the tables
        patch.setattr(Compactor, "notify_commit", lambda _: None)
        make_version_8(open_store(), left=names)
    for _ in range(2):  # the first time, the folder is upgraded
        store = open_store()
        store.start_compaction()
        store._compactor.folder.remove_leftovers()
        assert store.read_totals([5], ["replies"]).tolist() == [[3]]
        store.close()
        assert [(store._folder / name).read_bytes() for name in names] == [b"left", b"left"]
    (line,) = capfd.readouterr().err.splitlines()
    assert "unlisted_segments_kept" in line
    assert f"2 segment files ({LEFT}, {names[1]})" in line


def test_a_file_of_a_newer_version_is_not_left_by_a_crash_of_an_older_one(open_store):
    """The database is from before the upgrade, and the segments from after it."""
    make_version_8(open_store(), left=[f"merged-{'a' * 32}.segment"])
    with pytest.raises(UnusableFile, match="does not list"):
        open_store()


def test_a_missing_file_is_refused_in_an_upgrade_too(open_store, path):
    store = open_store()
    make_version_8(store, left=[LEFT])
    (listed,) = store._folder.glob("merged-*.segment")
    moved = listed.rename(path.parent / listed.name)
    with pytest.raises(UnusableFile, match="lacks 1 segment file"):
        open_store()
    moved.rename(listed)
    assert open_store().read_totals([5], ["replies"]).tolist() == [[3]]


@pytest.mark.parametrize("version", upgrade.WITH_ROWS)
def test_segments_beside_a_database_that_is_older_than_segments(open_store, path, version):
    make_old(path, version)
    folder = path.with_suffix(".segments")
    folder.mkdir()
    (folder / LEFT).write_bytes(b"counters")
    with pytest.raises(UnusableFile, match="does not list"):
        open_store()
    assert (folder / LEFT).read_bytes() == b"counters"
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (version,)
    db.close()


def test_a_file_that_an_older_server_is_writing_is_no_reason_to_refuse(open_store):
    """Such a server runs during an upgrade, and records nothing."""
    store = open_store()
    writing = store._folder / LEFT
    writing.write_bytes(b"half")
    with store._compactor.flush.lock.held():
        open_store().close()
    with pytest.raises(UnusableFile, match="does not list"):
        open_store()
    assert writing.read_bytes() == b"half"


def test_files_that_an_older_server_replaced_are_recorded(open_store):
    store = open_store()
    store.apply_batches([make_batch([(5, 1, {"replies": 3})])])
    store.prune(oldest_hour=0)
    (listed,) = manifest.list_segments(store._database.connection())
    with store._database.writing() as db:
        db.execute("DELETE FROM segments WHERE segment_id = ?", (listed.segment_id,))
    assert manifest.list_unlisted(store._database.connection()) == {listed.file: "replaced"}
    open_store().close()
