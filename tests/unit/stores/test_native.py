"""ClickHouse's Native format, against bytes that a server sent, and there and back."""

import numpy as np
import pytest

from openengagement.stores.cluster.native import decode_blocks, encode_block
from support.cases import cases

# SELECT toInt64(-2) AS a, toUInt8(7) AS b UNION ALL ... as two blocks of one row and of two.
ONE = b"\x02\x01\x01a\x05Int64\xfe" + b"\xff" * 7 + b"\x01b\x05UInt8\x07"
TWO = b"\x02\x02\x01a\x05Int64\x01" + bytes(7) + b"\x02" + bytes(7) + b"\x01b\x05UInt8\x08\x09"
HEAD = b"\x02\x00\x01a\x05Int64\x01b\x05UInt8"  # what a query without rows may send


def test_blocks_are_joined():
    first, second = decode_blocks(ONE + TWO, ["a", "b"])
    assert first.tolist() == [-2, 1, 2]
    assert second.tolist() == [7, 8, 9]
    assert first.dtype == second.dtype == np.int64


def test_columns_come_in_the_given_order():
    assert [column.tolist() for column in decode_blocks(ONE, ["b", "a"])] == [[7], [-2]]


@pytest.mark.parametrize("body", [b"", HEAD, HEAD + HEAD])
def test_no_rows(body):
    assert [column.tolist() for column in decode_blocks(body, ["a", "b"])] == [[], []]


def test_encoding():
    columns = {"a": ("Int64", np.array([1, 2])), "b": ("UInt8", np.array([8, 9]))}
    assert encode_block(columns) == TWO


@cases("rows", [0, 1, 127, 128, 300, 70_000])
def test_there_and_back(rows):
    given = np.arange(rows, dtype=np.int64) * 3 - 5
    columns = {"n": ("Int64", given), "hour": ("UInt32", given + 5), "m": ("UInt64", given + 5)}
    found = decode_blocks(encode_block(columns), ["n", "hour", "m"])
    assert [column.tolist() for column in found] == [given.tolist(), *[(given + 5).tolist()] * 2]


@cases(
    "body",
    [
        b"Code: 241. DB::Exception: Memory limit exceeded",
        ONE[:-1],
        ONE[:10],
        ONE + b"\x80",
        ONE.replace(b"UInt8", b"Int16"),
        ONE.replace(b"\x01b", b"\x01c"),
        ONE.replace(b"\x01a", b"\x01\xff"),
        TWO + b"x",
    ],
)
def test_another_body_is_refused(body):
    with pytest.raises(ValueError, match=r"Native format|buffer"):
        decode_blocks(body, ["a", "b"])
