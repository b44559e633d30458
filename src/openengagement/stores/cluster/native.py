"""ClickHouse's Native format, for columns of whole numbers.

A body is a sequence of blocks. A block has the number of columns, the number of rows, and per
column the name, the type and the values, little-endian, without gaps.
https://clickhouse.com/docs/interfaces/formats/Native
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

AnyInts = npt.NDArray[np.integer]
Ints = npt.NDArray[np.int64]
_TYPES: Final = {"Int64": "<i8", "UInt64": "<u8", "UInt32": "<u4", "UInt8": "|u1"}


def encode_block(columns: Mapping[str, tuple[str, AnyInts]]) -> bytes:
    """Encode one block. `columns` maps each name to ClickHouse's type and the values."""
    rows = len(next(iter(columns.values()))[1])
    parts = [_number(len(columns)), _number(rows)]
    for name, (type_name, values) in columns.items():
        parts += [_text(name), _text(type_name), values.astype(_TYPES[type_name]).tobytes()]
    return b"".join(parts)


def decode_blocks(body: bytes, names: Sequence[str]) -> list[Ints]:
    """Decode all blocks. Return the columns of these names, each over all blocks.

    Raises:
        ValueError: the body is not in this format, or has other columns or types.
    """
    empty = [np.zeros(0, np.int64) for _ in names]
    return [
        np.concatenate(columns) for columns in zip(empty, *iter_blocks(body, names), strict=True)
    ]


def iter_blocks(body: bytes, names: Sequence[str]) -> Iterator[list[Ints]]:
    """Decode block after block. Yield the columns of these names.

    Raises:
        ValueError: the body is not in this format, or has other columns or types.
    """
    at = 0
    try:
        while at < len(body):
            block, at = _decode_block(body, at)
            yield [block[name] for name in names]
    except (KeyError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the answer is not in the Native format: {error!r}") from error


def _decode_block(body: bytes, at: int) -> tuple[dict[str, Ints], int]:
    columns, at = _read_number(body, at)
    rows, at = _read_number(body, at)
    block: dict[str, Ints] = {}
    for _ in range(columns):
        name, at = _read_text(body, at)
        type_name, at = _read_text(body, at)
        if rows:
            values = np.frombuffer(body, _TYPES[type_name], rows, at)
            block[name] = values.astype(np.int64)  # a copy, because they are slow if not aligned
            at += values.nbytes
        else:
            block[name] = np.zeros(0, np.int64)
    return block, at


def _number(value: int) -> bytes:
    """Encode as LEB128: seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _number(len(encoded)) + encoded


def _read_number(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while body[at] & 0x80:
        value |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
    return value | body[at] << shift, at + 1


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    size, at = _read_number(body, at)
    if at + size > len(body):
        raise IndexError("it ends within a name")
    return body[at : at + size].decode(), at + size
