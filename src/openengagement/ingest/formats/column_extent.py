"""Check that a body is one Parquet or Arrow file, from its first byte to its last.

A reader begins at the footer, whose offsets count from the start of its file. If files follow each
other, it finds the footer of the last one, and with it the data of the first one.
"""

import mmap
import re
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from openengagement.errors import MalformedBody

PARQUET: Final = b"PAR1"
ARROW_FILE: Final = b"ARROW1"
# At the end of both formats are the footer, its size in this many bytes, and the magic number.
_FOOTER_SIZE_BYTES: Final = 4
# How a column of Parquet begins: with a page header, a Thrift struct of two small numbers first.
_PAGE_START: Final = re.compile(rb"\x15[\x00\x02\x04\x06]\x15")
_SCHEMA_KEY, _OTHER_KEY = b"ARROW:schema", b"other:schema"
# The name of a column is no start of a file. Before it stands its length.
_ARROW_START: Final = re.compile(rb"(?<!\x06\0\0\0)ARROW1")
_END_OF_STREAM: Final = b"\xff\xff\xff\xff"  # and zeros
_END_MAX_BYTES: Final = 72  # with padding
# Where the table of an Arrow footer (FlatBuffers) has its dictionaries and record batches.
_BLOCK_SLOTS: Final = (8, 10)
_BLOCK: Final = np.dtype([("offset", "<i8"), ("head", "<i4"), ("", "<i4"), ("body", "<i8")])


def check_parquet(whole: mmap.mmap, metadata: pq.FileMetaData) -> None:
    """Refuse a body in which other bytes precede the file.

    Offsets in the metadata count from the start of the file. Taken from the start of the body, they
    end too early, by the size of the bytes before. So the file starts within `room`, the gap before
    the metadata, and columns begin at the same offsets from there. In a good file, indexes fill the
    gap, and a text that looks like the start of a file has no columns at these offsets.
    """
    columns = _last_columns(metadata)
    end = max((start + size for start, size in columns), default=len(PARQUET))
    room = len(whole) - len(PARQUET) - _FOOTER_SIZE_BYTES - metadata.serialized_size - end
    start = 0
    while (start := whole.find(PARQUET, start + 1, max(room, 0) + len(PARQUET))) >= 0:
        if all(_PAGE_START.match(whole, start + offset) for offset, _ in columns):
            raise _several("Parquet")


def _last_columns(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """Return the offset and the size of each column in the last row group."""
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(metadata.num_row_groups - 1)
    columns = []
    for column in (group.column(index) for index in range(group.num_columns)):
        offsets = filter(None, (column.dictionary_page_offset, column.data_page_offset))
        if size := column.total_compressed_size:
            columns.append((min(offsets, default=0), size))
    return columns


def read_metadata(whole: mmap.mmap) -> pq.FileMetaData:
    """Read the metadata of Parquet without the Arrow schema in it, which may have unknown types."""
    size_at = len(whole) - len(PARQUET) - _FOOTER_SIZE_BYTES
    footer = whole[size_at - _number(whole, size_at, dtype="<u4") :]
    return pq.read_metadata(pa.BufferReader(PARQUET + footer.replace(_SCHEMA_KEY, _OTHER_KEY)))


def check_arrow_file(whole: mmap.mmap) -> None:
    """Refuse a body in which other bytes precede the file. Its footer must be verified.

    Between the last block that the footer lists and the footer is only the end of the stream. The
    place is wrong, and the gap too large, if other bytes precede the file.

    Raises:
        MalformedBody: the body has several files.
        pa.ArrowInvalid: it has other bytes.
        ValueError: the footer refers to bytes outside of the body.
    """
    size_at = len(whole) - len(ARROW_FILE) - _FOOTER_SIZE_BYTES
    footer = size_at - _number(whole, size_at, dtype="<i4")
    end = _end_of_blocks(whole, footer)
    gap = whole[end : min(footer, end + _END_MAX_BYTES + 1)]
    if end and len(gap) <= _END_MAX_BYTES and gap.strip(b"\0") in {b"", _END_OF_STREAM}:
        return
    if _ARROW_START.search(whole, len(ARROW_FILE), footer):
        raise _several("Arrow")
    if end:
        raise pa.ArrowInvalid("the footer does not follow the last block")


def _end_of_blocks(whole: mmap.mmap, footer: int) -> int:
    """Return where the last block ends, 0 if there are none."""
    end = 0
    table = footer + _number(whole, footer, dtype="<u4")
    slots = table - _number(whole, table, dtype="<i4")
    for slot in _BLOCK_SLOTS:
        place = (
            _number(whole, slots + slot, dtype="<u2")
            if slot < _number(whole, slots, dtype="<u2")
            else 0
        )
        if place:
            vector = table + place + _number(whole, table + place, dtype="<u4")
            count = _number(whole, vector, dtype="<u4")
            blocks = (
                np.frombuffer(whole, _BLOCK, count, vector + 4) if count else np.empty(0, _BLOCK)
            )
            end = max(end, int((blocks["offset"] + blocks["head"] + blocks["body"]).max(initial=0)))
    return end


def _number(whole: mmap.mmap, offset: int, *, dtype: str) -> int:
    return int(np.frombuffer(whole, dtype, 1, offset)[0])


def _several(name: str) -> MalformedBody:
    return MalformedBody(f"body: holds several {name} files; send them one by one")
