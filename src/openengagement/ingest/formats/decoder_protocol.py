"""Messages between a reader of Parquet and Arrow and its decoder process.

The answer to a `Request` is a sequence of frames: for each piece of the body `Status.PIECE`, a
`PieceHead` and the arrays that it announces; then one other status with a text.
"""

from enum import Enum
from typing import Any, Final

import msgspec
import numpy as np

# The columns of plain rows, as arrays of these types. Without the column `count` each event counts
# 1; without `promoted` no event is promoted.
PLAIN_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "tweet_id": np.dtype(np.int64),
    "type": np.dtype(np.uint8),
    "hour": np.dtype(np.int32),
    "count": np.dtype(np.int64),
    "promoted": np.dtype(np.bool_),
}


class Request(msgspec.Struct, frozen=True):
    """Which columns to decode, and which rows are plain. `name` is the name of the format.

    In the columns `texts`, `not_text` is put before values that are neither text nor whole numbers.
    A body is refused if it lacks a `required` column, has more than `rows_max` rows, or has more
    than `text_max_bytes` in rows that are not plain. No piece crosses a multiple of `chunk_rows`,
    after which line numbers start at 1 again. If `typed`, the rows are events. A plain event is not
    later than `latest_s` and has a count from `-count_max` to `count_max`.
    """

    name: str
    fields: tuple[str, ...]
    required: tuple[str, ...]
    texts: tuple[str, ...]
    not_text: str
    rows_max: int
    text_max_bytes: int
    chunk_rows: int
    typed: bool
    latest_s: int
    count_max: int


class PieceHead(msgspec.Struct, frozen=True):
    """The size of a piece, and which arrays follow.

    The piece has `rows` rows, numbered from `first_line` on. `read_bytes` is how much of the body
    was read up to its end. `columns` names the columns of its plain rows, which follow as arrays.
    If `mixed`, two more frames follow: the line numbers of the plain rows (32 bits each), and the
    other rows as an Arrow stream. `ignored` names columns that are not read.
    """

    rows: int
    first_line: int
    read_bytes: int
    columns: tuple[str, ...]
    mixed: bool
    ignored: tuple[str, ...] = ()


class Status(bytes, Enum):
    """The status in an answer. FAILED means that the process failed; the body may be good."""

    PIECE = b"p"
    END = b"e"
    TOO_LARGE = b"l"
    UNREADABLE = b"u"
    FAILED = b"f"
