"""Segments: files and blobs return the counters that were written."""

import contextlib
import fcntl
import gc
import os

import numpy as np
import pytest

from openengagement.engagement.counters import COUNTER_MAX, cells_of, no_counters, sum_rows
from openengagement.stores.embedded import segment_removal
from openengagement.stores.embedded.segment_removal import remove_segments
from openengagement.stores.embedded.segments import (
    Bounds,
    SegmentFile,
    bounds_of,
    decode_segment,
    encode_hours,
    open_segment,
)
from support.cases import cases


def counters(*rows):
    """Counters of rows (tweet_id, hour, type number, count)."""
    ids, hours, types, counts = np.array(rows, np.int64).T
    return sum_rows(ids, cells_of(hours, types), counts=counts)


def plain(part):
    return [column.tolist() for column in (part.ids, part.starts, part.cells, part.counts)]


ONE = counters((5, 10, 0, 1), (5, 10, 3, -2), (9, 490_000, 17, 3))


@cases("count", [1, 127, 128, 2**15, 2**31, COUNTER_MAX, -128, -129, -COUNTER_MAX])
def test_counts_of_any_width(count):
    wide = counters((5, 10, 0, count), (-7, 3, 1, 1))
    assert plain(decode_segment(encode_hours(wide), "a").hours) == plain(wide)


def test_small_counts_take_a_byte():
    many = counters(*((index, 10, 0, 100) for index in range(1, 10_001)))
    more = counters(*((index, 10, 0, 1000) for index in range(1, 10_001)))
    assert len(encode_hours(more)) - len(encode_hours(many)) == 10_000


def test_a_blob_has_hours_only():
    segment = decode_segment(encode_hours(ONE), "a")
    assert segment.totals is None
    assert plain(segment.summable) == plain(ONE)


def bounds(parts):
    return bounds_of(parts, max_magnitude=sum(part.max_magnitude for part in parts))


def write(path, pieces, *, hours=None, totals=None):
    file = SegmentFile(
        path,
        hours=hours or bounds([piece[0] for piece in pieces]),
        totals=totals or bounds([piece[1] for piece in pieces]),
    )
    for piece in pieces:
        file.write(*piece)
    file.finish()
    file.close()
    return open_segment(path)


def test_a_file_in_pieces(tmp_path):
    after = counters((20, 1, 1, 70_000))
    segment = write(tmp_path / "a", [(ONE, ONE), (no_counters(), no_counters()), (after, after)])
    together = counters((5, 10, 0, 1), (5, 10, 3, -2), (9, 490_000, 17, 3), (20, 1, 1, 70_000))
    assert plain(segment.hours) == plain(segment.totals) == plain(together)


def test_a_file_whose_totals_cancel_out_has_totals(tmp_path):
    """They are empty. Without totals, the hours would add up to them."""
    segment = write(tmp_path / "a", [(ONE, no_counters())])
    assert segment.summable.rows == 0


def test_unused_room_takes_no_disk_space(tmp_path):
    room = Bounds(1_000_000, 50_000_000, 1)
    segment = write(tmp_path / "a", [(ONE, ONE)], hours=room, totals=room)
    assert plain(segment.hours) == plain(ONE)
    assert (tmp_path / "a").stat().st_blocks * 512 < 100_000


def test_evicted_pages_are_read_again(tmp_path):
    segment = write(tmp_path / "a", [(ONE, ONE)])
    segment.evict()
    assert plain(segment.hours) == plain(ONE)


def test_an_existing_file_is_not_overwritten(tmp_path):
    write(tmp_path / "a", [(ONE, ONE)])
    with pytest.raises(FileExistsError):
        write(tmp_path / "a", [(ONE, ONE)])


def test_a_count_that_does_not_fit_is_refused(tmp_path):
    """It would wrap around without an error."""
    large = counters((5, 10, 0, 200))
    with pytest.raises(OverflowError, match="200"):
        write(tmp_path / "a", [(large, large)], totals=Bounds(1, 1, 100))


def sizes_while(path, monkeypatch, *, stopping=lambda _: False):
    """Remove a file, and return its size at each wait."""
    monkeypatch.setattr(segment_removal, "_FREED_BYTES", 5000)
    seen = []
    with path.open("rb") as file:

        def look(seconds):
            seen.append(os.fstat(file.fileno()).st_size)
            return stopping(seconds)

        remove_segments([path], stopping=look)
    assert not path.exists()
    return seen


def test_a_removed_file_is_freed_in_steps(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write(path, [(ONE, ONE)])
    gc.collect()
    size = path.stat().st_size
    seen = sizes_while(path, monkeypatch)
    assert seen == list(range(size, 5000, -5000))
    assert len(seen) > 2


@pytest.mark.parametrize("linked", [[0], [1], [0, 2], [0, 1, 2]])
def test_a_file_with_another_name_stays_whole(tmp_path, monkeypatch, linked):
    """The others are freed, whatever their place."""
    monkeypatch.setattr(segment_removal, "_FREED_BYTES", 5000)
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        write(path, [(ONE, ONE)])
    gc.collect()
    content = paths[0].read_bytes()
    links = {path: tmp_path / f"{path.name}.link" for path in paths}
    for index in linked:
        links[paths[index]].hardlink_to(paths[index])
    with contextlib.ExitStack() as stack:
        freed = [stack.enter_context(path.open("rb")) for path in paths]
        remove_segments(paths, stopping=lambda _: False)
        sizes = [os.fstat(file.fileno()).st_size for file in freed]
    assert [size == len(content) for size in sizes] == [index in linked for index in range(3)]
    assert all(size in {len(content), len(content) % 5000} for size in sizes)
    for index in linked:
        assert links[paths[index]].read_bytes() == content


def test_a_file_in_use_is_not_freed(tmp_path, monkeypatch):
    monkeypatch.setattr(segment_removal, "_PATIENCE_S", 0.05)
    path = tmp_path / "a"
    held = write(path, [(ONE, ONE)])
    size = path.stat().st_size
    assert set(sizes_while(path, monkeypatch)) <= {size}  # a slow machine may have given up at once
    assert plain(held.hours) == plain(ONE)


def test_a_process_that_stops_frees_nothing_more(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write(path, [(ONE, ONE)])
    gc.collect()
    assert len(sizes_while(path, monkeypatch, stopping=lambda _: True)) == 1


def test_a_file_that_is_being_removed_cannot_be_opened(tmp_path):
    path = tmp_path / "a"
    write(path, [(ONE, ONE)])
    gc.collect()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FileNotFoundError, match="being removed"):
            open_segment(path)
    assert plain(open_segment(path).hours) == plain(ONE)
