"""Damaged segments are refused: never served as numbers, merged or copied."""

import random
import shutil
from contextlib import closing

import msgspec
import numpy as np
import pytest

from contract.deltas import make_batch
from openengagement.engagement.types import TYPE_NAMES
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded import checksums, compaction, manifest, segments
from support import folders
from support.folders import close_segments, flip

TWEETS = range(1, 3001)
HOURS = 6
COUNTED = {"replies": lambda tweet: HOURS * (tweet % 7 + 1), "favorites": lambda _: 21}
RIGHT = [
    [COUNTED[name](tweet) if name in COUNTED else 0 for name in TYPE_NAMES] for tweet in TWEETS
]


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    """Only the test itself starts merges, and blocks are small."""
    merge_by_hand(monkeypatch)


def merge_by_hand(patch):
    patch.setattr(compaction.Compactor, "notify_commit", lambda _: None)
    patch.setattr(checksums, "_BLOCK_BYTES", 4096)


def fill(store, tweets=TWEETS, hours=range(HOURS)):
    for hour in hours:
        rows = [
            (tweet, hour, {"replies": tweet % 7 + 1, "favorites": hour + 1}) for tweet in tweets
        ]
        store.apply_batches([make_batch(rows)])


def flush(store):
    merger = store._compactor._merger
    merger.merge(merger.unflushed())
    (name,) = {each.file for each in merger.files()} - {None}
    return store._folder / name


def read(store, tweet_ids=TWEETS):
    totals = store.read_totals(list(tweet_ids), TYPE_NAMES)
    hours = store.read_buckets(list(tweet_ids), TYPE_NAMES, start_hour=0, end_hour=HOURS)
    assert (hours.sum(axis=2) == totals).all()
    return totals


def used(path):
    """The parts of a file that are not holes: name, first byte, end."""
    entries = segments._read_head(path.read_bytes())
    return [
        ("head", 0, len(msgspec.json.encode(entries))),
        *(
            (name, at, at + length * np.dtype(dtype).itemsize)
            for name, dtype, length, at in entries
        ),
    ]


def changed(store):
    """Read in a new process, so to say. Return whether the damage was noticed."""
    close_segments(store)
    try:
        found = read(store)
    except StoreDamaged as error:
        return error.file.startswith(("counters.segments/", "counters.sqlite3"))
    assert found.tolist() == RIGHT, "wrong numbers"
    return False


@pytest.fixture(scope="module")
def filled_folder(tmp_path_factory):
    """The folder of a store with RIGHT in blobs. Tests work on copies."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        merge_by_hand(patch)
        with closing(folders.open_store(folder)) as store:
            fill(store)
            assert read(store).tolist() == RIGHT
    return folder


@pytest.fixture
def filled(filled_folder, path, open_store):
    shutil.copytree(filled_folder, path.parent, dirs_exist_ok=True)
    return open_store()


@pytest.mark.parametrize(
    "part",
    [
        "head",
        *(
            f"{name}.{column}"
            for name in ("hours", "totals")
            for column in ("ids", "starts", "cells", "counts", "checksums")
        ),
    ],
)
def test_every_flipped_bit_of_a_file_is_noticed(filled, part):
    path = flush(filled)
    ((_, first, end),) = [each for each in used(path) if each[0] == part]
    chance = random.Random(part)
    for at in [first, end - 1, *(chance.randrange(first, end) for _ in range(30))]:
        bit = chance.randrange(8)
        flip(path, at, bit)
        assert changed(filled), f"byte {at - first} of {part}, bit {bit}"
        flip(path, at, bit)
    assert not changed(filled)


def test_one_read_gives_the_right_numbers_or_none(filled):
    """A read verifies only the blocks that it uses. Damage elsewhere does not stop it."""
    path = flush(filled)
    chance = random.Random(1)
    noticed = 0
    for _ in range(150):
        _, first, end = chance.choice([each for each in used(path) if each[0] != "head"])
        at, bit = chance.randrange(first, end), chance.randrange(8)
        some = [*sorted(chance.sample(TWEETS, 3)), 9_999_999]
        flip(path, at, bit)
        close_segments(filled)
        try:
            totals = filled.read_totals(some, TYPE_NAMES)
            hours = filled.read_buckets(some, TYPE_NAMES, start_hour=0, end_hour=HOURS)
        except StoreDamaged:
            noticed += 1
        else:
            right = [*(RIGHT[each - 1] for each in some[:3]), [0] * len(TYPE_NAMES)]
            assert totals.tolist() == hours.sum(axis=2).tolist() == right
        flip(path, at, bit)
    assert 5 < noticed < 150


@pytest.mark.parametrize("damage", ["zeros", "cut", "empty", "missing", "another file"])
def test_larger_damage_is_noticed(filled, open_store, damage, tmp_path):
    path = flush(filled)
    content = path.read_bytes()
    ((_, first, _),) = [each for each in used(path) if each[0] == "totals.counts"]
    if damage == "zeros":
        path.write_bytes(content[:first] + bytes(4096) + content[first + 4096 :])
    elif damage == "cut":
        path.write_bytes(content[: first + 10])
    elif damage == "missing":
        path.unlink()
    elif damage == "another file":  # whole, but of another time
        fill(filled, hours=[0])
        later = filled._compactor._merger
        later.merge(later.unflushed())
        other = next(each for each in filled._folder.glob("*.segment") if each != path)
        shutil.copy(other, path)
    else:
        path.write_bytes(b"")
    assert changed(filled)


def test_a_file_that_became_shorter_while_it_is_open(filled):
    """An access to the missing part would end the process by SIGBUS."""
    path = flush(filled)
    close_segments(filled)
    read(filled, TWEETS[:1])
    ((_, first, _),) = [each for each in used(path) if each[0] == "totals.cells"]
    with path.open("r+b") as file:
        file.truncate(first + 4096)
    with pytest.raises(StoreDamaged, match="a part of it cannot be read"):
        read(filled, TWEETS[-1:])


@pytest.mark.parametrize("at", [0, 100, 5000, -1, 30_000])
def test_every_flipped_bit_of_a_blob_is_noticed(filled, at):
    db = filled._database.connection()
    ((segment_id, body),) = db.execute("SELECT segment_id, body FROM segments LIMIT 1").fetchall()
    damaged = bytearray(body)
    damaged[at] ^= 16
    db.execute("UPDATE segments SET body = ? WHERE segment_id = ?", (damaged, segment_id))
    assert changed(filled)


@pytest.mark.parametrize(
    "change", ["rows = rows + 1", "reach = reach * 2", "file = 'x' || file", "checksum = 7"]
)
@pytest.mark.parametrize("kind", ["blob", "file"])
def test_a_changed_record_is_noticed(filled, kind, change):
    if kind == "file":
        flush(filled)
    db = filled._database.connection()
    change = "file = 'none.segment'" if kind == "blob" and "file" in change else change
    db.execute(
        f"UPDATE segments SET {change} WHERE segment_id = (SELECT max(segment_id) FROM segments)"
    )
    assert changed(filled)


def test_damage_is_not_merged_and_the_rest_is(filled):
    path = flush(filled)
    ((_, first, _),) = [each for each in used(path) if each[0] == "hours.counts"]
    merger = filled._compactor._merger
    for hour in range(2):
        fill(filled, hours=[hour])
        merger.merge(merger.unflushed())
    flip(path, first, 0)
    close_segments(filled)
    before = merger.records()
    with pytest.raises(StoreDamaged, match=path.name):
        merger.merge(before)
    assert merger.records() == before
    assert len(list(filled._folder.glob("*.segment"))) == 3
    assert [each.file for each in merger.records() if each not in merger.mergeable()] == [path.name]
    merger.merge(merger.mergeable())
    flip(path, first, 0)
    close_segments(filled)
    assert read(filled)[:, TYPE_NAMES.index("favorites")].tolist() == [21 + 3] * len(TWEETS)


def test_a_damaged_blob_does_not_stop_flushing(filled):
    db = filled._database.connection()
    db.execute("UPDATE segments SET reach = 99 WHERE segment_id = 2")
    stage = filled._compactor.flush
    fill(filled, hours=range(3))
    assert stage.run() is compaction.StageResult.FAILED
    assert stage.run() is compaction.StageResult.MERGED
    assert [each.segment_id for each in filled._compactor._merger.unflushed()] == [2]


@pytest.mark.parametrize("part", ["hours.ids", "hours.cells", "totals.counts"])
def test_damage_is_not_backed_up(filled, tmp_path, part):
    path = flush(filled)
    ((_, first, _),) = [each for each in used(path) if each[0] == part]
    flip(path, first + 4, 6)
    close_segments(filled)
    (tmp_path / "copy").mkdir()
    with pytest.raises(StoreDamaged, match=path.name):
        filled.copy_to(tmp_path / "copy")
    assert not list((tmp_path / "copy" / "counters.segments").iterdir())


def test_a_damaged_blob_is_not_backed_up(filled, tmp_path):
    filled._database.connection().execute("UPDATE segments SET rows = 1 WHERE segment_id = 3")
    (tmp_path / "copy").mkdir()
    with pytest.raises(StoreDamaged, match="segment 3"):
        filled.copy_to(tmp_path / "copy")


def as_old(store, path):
    """Make a file and its record those of a version without checksums."""
    entries = segments._read_head(path.read_bytes())
    head = segments._head([each for each in entries if "checksums" not in each[0]])
    with path.open("r+b") as file:
        file.write(head)
    store._database.connection().execute("UPDATE segments SET checksum = NULL")


def test_files_of_older_versions_are_read_and_get_checksums_when_merged(filled):
    as_old(filled, flush(filled))
    assert not changed(filled)
    merger = filled._compactor._merger
    merger.merge(merger.records())
    ((checksum,),) = filled._database.connection().execute("SELECT checksum FROM segments")
    assert checksum is not None
    path = filled._folder / merger.files()[0].file
    assert "totals.checksums" in [each[0] for each in used(path)]
    assert not changed(filled)


@pytest.mark.parametrize(
    ("part", "damage"),
    [("ids", b"\xff" * 7), ("starts", b"\xff" * 3), ("counts", b"\x7f"), ("counts", b"\x80")],
)
def test_old_files_are_checked_for_order_and_bounds(filled, part, damage):
    path = flush(filled)
    as_old(filled, path)
    ((_, first, _),) = [each for each in used(path) if each[0] == f"hours.{part}"]
    content = path.read_bytes()
    path.write_bytes(content[: first + 400] + damage + content[first + 400 + len(damage) :])
    assert changed(filled)


def test_old_blobs_are_checked_for_bounds(filled):
    db = filled._database.connection()
    db.execute("UPDATE segments SET checksum = NULL")
    assert not changed(filled)
    db.execute("UPDATE segments SET rows = 5 WHERE segment_id = 1")
    assert changed(filled)


def test_blocks_of_any_edges_have_their_checksums(tmp_path, monkeypatch):
    """Pieces that end before, at and after the end of a block, and Tweets of many rows."""
    chance = random.Random(5)
    monkeypatch.setattr(checksums, "_BLOCK_BYTES", 200)
    for number in range(40):
        rows, tweet = [], 0
        sizes = [chance.choice([0, 1, 3, 7, 8, 9, 40]) for _ in range(6)]
        pieces = []
        for size in sizes:
            rows = []
            for _ in range(size):
                tweet += chance.randrange(1, 5)
                rows += [(tweet, hour, {"replies": 1}) for hour in range(chance.randrange(1, 9))]
            pieces.append(make_batch(rows).deltas)
        path = tmp_path / f"{number}.segment"
        bounds = segments.bounds_of(pieces, max_magnitude=1)
        file = segments.SegmentFile(path, hours=bounds, totals=bounds)
        for piece in pieces:
            file.write(piece, piece)
        content = file.finish()
        file.close()
        segment = segments.open_segment(path)
        assert segment.checksum == content
        read = []
        segment.verify(read.append)
        assert sum(read) == 2 * sum(
            (8 + 4) * size + (4 + 1) * part.rows for size, part in zip(sizes, pieces, strict=True)
        )
        assert not segment.hours.verifier.pending


def test_a_listed_segment_without_content(filled):
    db = filled._database.connection()
    db.execute("UPDATE segments SET body = NULL WHERE segment_id = 1")
    assert changed(filled)
    assert len(manifest.list_segments(db)) == HOURS
