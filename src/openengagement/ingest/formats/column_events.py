"""Convert columns of events to ids, type codes, hours, counts and flags, in the decoder process.

A value is plain if it certainly breaks no rule of `ingest.rows`. The functions return the values of
a column, and most of them also mark the rows with a plain value.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import types

from openengagement.engagement.types import EVENT_TYPES, HOUR_S
from openengagement.ingest.formats.column_text import UNITS_PER_S, as_text, decoded
from openengagement.ingest.formats.decoder_protocol import Request

_Plain = npt.NDArray[np.bool_]
_Values = npt.NDArray[Any]
_NO_TYPE: Final = 255
_TYPE_CODES: Final = {name: code for code, name in enumerate(EVENT_TYPES)}
_DICTIONARY_MAX: Final = 1000  # values; a column of types has about twenty


class _OtherTypeError(Exception):
    """No value of a column of this type is plain."""


def type_events(
    columns: dict[str, pa.Array], request: Request
) -> tuple[dict[str, _Values], _Plain | None]:
    """Convert the columns of events, and mark the plain rows.

    The marks are None if a column has a type without plain values. The result has no counts or
    flags if the body has none.
    """
    try:
        ids, plain = _ids(columns["tweet_id"])
        plain &= ids > 0
        codes = _type_codes(columns["type"])
        plain &= codes != _NO_TYPE
        hours, is_past = _hours(columns["at"], latest_s=request.latest_s)
        plain &= is_past
        typed = {"tweet_id": ids, "type": codes, "hour": hours}
        if "count" in columns and not types.is_null(columns["count"].type):
            typed["count"], is_count = _counts(columns["count"], count_max=request.count_max)
            plain &= is_count
        if "promoted" in columns and not types.is_null(columns["promoted"].type):
            typed["promoted"] = _flags(columns["promoted"])
    except (_OtherTypeError, pa.ArrowInvalid):
        return {}, None
    return typed, plain


def _ids(column: pa.Array) -> tuple[_Values, _Plain]:
    column = decoded(column)
    if types.is_decimal(column.type) and column.type.scale > 0:
        raise _OtherTypeError  # its text has a fraction, which no id has
    return _integers(column)


def _integers(column: pa.Array) -> tuple[_Values, _Plain]:
    """Convert a column to 64-bit integers. A null is 0.

    Raises:
        pa.ArrowInvalid: a decimal has a fraction or more than 64 bits.
    """
    if not (types.is_integer(column.type) or types.is_decimal(column.type)):
        raise _OtherTypeError
    valid = _valid(column)
    if types.is_uint64(column.type):
        numbers = column.fill_null(0).to_numpy(zero_copy_only=False)
        return numbers.astype(np.int64), valid & (numbers <= np.iinfo(np.int64).max)
    numbers = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return numbers, valid


def _valid(column: pa.Array) -> _Plain:
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    valid: _Plain = column.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _type_codes(column: pa.Array) -> _Values:
    """Convert a column to indexes in EVENT_TYPES; the code of any other value is _NO_TYPE."""
    encoded = column if types.is_dictionary(column.type) else column.dictionary_encode()
    names = encoded.dictionary
    if len(names) > _DICTIONARY_MAX:
        raise _OtherTypeError
    codes = [_TYPE_CODES.get(name, _NO_TYPE) for name in as_text("type", names).to_pylist()]
    table = np.array([*codes, _NO_TYPE], np.uint8)
    indexes = encoded.indices.cast(pa.int64()).fill_null(len(names))
    found: _Values = table[indexes.to_numpy(zero_copy_only=False)]
    return found


def _hours(column: pa.Array, *, latest_s: int) -> tuple[_Values, _Plain]:
    """Convert times to hour buckets. Plain times are from 1970 to `latest_s`."""
    column = decoded(column)
    if not types.is_timestamp(column.type):
        raise _OtherTypeError
    units_per_s = UNITS_PER_S[column.type.unit]
    units = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    plain = (units >= 0) & (units < (latest_s + 1) * units_per_s)
    return (units // (HOUR_S * units_per_s)).astype(np.int32), plain


def _counts(column: pa.Array, *, count_max: int) -> tuple[_Values, _Plain]:
    """Convert counts; a missing count is 1. Floats and decimals may be whole numbers."""
    column = decoded(column)
    if types.is_floating(column.type):
        floats = column.fill_null(1).to_numpy(zero_copy_only=False).astype(np.float64)
        plain = (np.abs(floats) <= count_max) & (floats == np.trunc(floats)) & (floats != 0)
        return np.where(plain, floats, 1).astype(np.int64), plain
    counts, plain = _integers(column)
    if column.null_count:
        valid = _valid(column)
        counts, plain = np.where(valid, counts, 1), plain | ~valid
    return counts, plain & (counts != 0) & (counts >= -count_max) & (counts <= count_max)


def _flags(column: pa.Array) -> _Values:
    """Convert flags; a missing flag is false."""
    column = decoded(column)
    if not types.is_boolean(column.type):
        raise _OtherTypeError
    flags: _Values = column.fill_null(False).to_numpy(zero_copy_only=False)
    return flags
