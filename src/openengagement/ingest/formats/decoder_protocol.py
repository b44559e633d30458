"""Messages between a reader of Parquet and Arrow and its decoder process.

The answer to a `Request` is a sequence of frames: for each piece of the body `Status.PIECE`, a
`PieceHead` and the arrays that it announces; then one other status with a text.
"""

from enum import Enum
from typing import Any, Final

import msgspec
import numpy as np

# The columns of plain rows, as arrays of these types. A column of one value only is left out:
# each count is then 1, and no event is promoted.
PLAIN_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "tweet_id": np.dtype(np.int64),
    "type": np.dtype(np.uint8),
    "hour": np.dtype(np.int32),
    "count": np.dtype(np.int64),
    "promoted": np.dtype(np.bool_),
}


class Request(msgspec.Struct, frozen=True):
    """Which columns to decode, and which rows are plain. `name` is that of the format.

    A body is refused without a `required` column, with more than `rows_max` rows, or with more than
    `text_max_bytes` in rows that are not plain. No piece crosses a multiple of `chunk_rows`, where
    lines are numbered from 1 again. If `typed`, the rows are events, and those are plain that are
    not later than `latest_s` and have a count from `-count_max` to `count_max`.
    """

    name: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    rows_max: int
    text_max_bytes: int
    chunk_rows: int
    typed: bool
    latest_s: int
    count_max: int


class PieceHead(msgspec.Struct, frozen=True):
    """The piece has `rows` rows from `first_line` on, and then `read_bytes` of the body are read.

    `columns` names the columns of its plain rows that follow. If not all rows are plain, their
    lines follow as 32-bit numbers, and then the others as an Arrow stream.
    """

    rows: int
    first_line: int
    read_bytes: int
    columns: tuple[str, ...]
    mixed: bool


class Status(bytes, Enum):
    """The status in an answer. FAILED is a failure that a good body could have had."""

    PIECE = b"p"
    END = b"e"
    TOO_LARGE = b"l"
    UNREADABLE = b"u"
    FAILED = b"f"
