"""Segments: what is written is what is read, in a file or a blob."""

import numpy as np
import pytest

from openengagement.engagement.counters import COUNTER_MAX, cells_of, no_counters, sum_rows
from openengagement.stores.segments import (
    Bounds,
    SegmentFile,
    bounds_of,
    decode_segment,
    encode_hours,
    open_segment,
)


def counters(*rows):
    """Counters of rows (tweet_id, hour, type number, count)."""
    ids, hours, types, counts = np.array(rows, np.int64).T
    return sum_rows(ids, cells_of(hours, types), counts=counts)


def plain(part):
    return [column.tolist() for column in part]


ONE = counters((5, 10, 0, 1), (5, 10, 3, -2), (9, 490_000, 17, 3))


@pytest.mark.parametrize("peak", [1, 127, 128, 2**15, 2**31, COUNTER_MAX, -128, -129, -COUNTER_MAX])
def test_counts_of_any_width(peak):
    wide = counters((5, 10, 0, peak), (-7, 3, 1, 1))
    assert plain(decode_segment(encode_hours(wide)).hours) == plain(wide)


def test_small_counts_take_a_byte():
    many = counters(*((at, 10, 0, 100) for at in range(1, 10_001)))
    more = counters(*((at, 10, 0, 1000) for at in range(1, 10_001)))
    assert len(encode_hours(more)) - len(encode_hours(many)) == 10_000


def test_a_blob_has_hours_only():
    segment = decode_segment(encode_hours(ONE))
    assert segment.totals is None
    assert plain(segment.summable) == plain(ONE)


def write(path, pieces, *, hours=None, totals=None):
    file = SegmentFile(
        path,
        hours=hours or bounds_of([piece[0] for piece in pieces]),
        totals=totals or bounds_of([piece[1] for piece in pieces]),
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
    """No totals at all are not the same as totals that the hours tell."""
    segment = write(tmp_path / "a", [(ONE, no_counters())])
    assert segment.summable.rows == 0


def test_room_that_is_not_needed_takes_no_disk(tmp_path):
    room = Bounds(1_000_000, 50_000_000, 1)
    segment = write(tmp_path / "a", [(ONE, ONE)], hours=room, totals=room)
    assert plain(segment.hours) == plain(ONE)
    assert (tmp_path / "a").stat().st_blocks * 512 < 100_000


def test_what_was_let_go_is_read_again(tmp_path):
    segment = write(tmp_path / "a", [(ONE, ONE)])
    segment.let_go()
    assert plain(segment.hours) == plain(ONE)


def test_a_file_that_exists_is_not_written_over(tmp_path):
    write(tmp_path / "a", [(ONE, ONE)])
    with pytest.raises(FileExistsError):
        write(tmp_path / "a", [(ONE, ONE)])


def test_a_count_without_room_is_refused(tmp_path):
    """It would wrap around, silently."""
    large = counters((5, 10, 0, 200))
    with pytest.raises(OverflowError, match="200"):
        write(tmp_path / "a", [(large, large)], totals=Bounds(1, 1, 100))
