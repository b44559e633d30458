"""Convert a column of any type to text, in the decoder process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from openengagement.errors import MalformedBody

# The range of times with an RFC 3339 text, in Unix seconds.
_YEAR_ONE_S: Final = -62_135_596_800
_YEAR_10000_S: Final = 253_402_300_800
_TEXTUAL: Final[tuple[Callable[[pa.DataType], bool], ...]] = (
    *(types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal),
    *(types.is_timestamp, types.is_date, types.is_time),
    *(types.is_string, types.is_large_string, types.is_string_view),
    *(types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary),
)
_ZEROS_MAX: Final = -40  # more zeros at the end than a count or an id can have
UNITS_PER_S: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def check_type(name: str, dtype: pa.DataType) -> None:
    """Check that values of a column's type can be converted to text.

    Raises:
        MalformedBody: the type is nested, a duration, or the like.
    """
    inner = dtype
    while (value := _value_type(inner)) is not None:
        inner = value
    if not any(check(inner) for check in _TEXTUAL):
        raise unsuitable_type(name, dtype)


def unsuitable_type(name: str, dtype: object) -> MalformedBody:
    """Make the refusal of a column whose type, which `dtype` describes, has no text."""
    text = f"column {name} has the type {dtype}; send numbers, text, times or booleans"
    return MalformedBody(f"body: {text}")


def _value_type(dtype: pa.DataType) -> pa.DataType | None:
    """Return the type of the values that a dictionary, run or extension type stands for."""
    if isinstance(dtype, pa.BaseExtensionType):
        return dtype.storage_type
    if types.is_dictionary(dtype) or types.is_run_end_encoded(dtype):
        return dtype.value_type
    return None


def is_text_or_bytes(dtype: pa.DataType) -> bool:
    """Whether values of a type are texts or bytes of any length."""
    return dtype in {pa.string(), pa.large_string(), pa.binary(), pa.large_binary()}


def simplify(column: pa.Array) -> pa.Array:
    """Replace extension types, runs and views, for which the library has few functions."""
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    if types.is_run_end_encoded(column.type):
        return simplify(pc.run_end_decode(column))
    if types.is_dictionary(column.type):
        # A dictionary may be larger than its column.
        names = simplify(column.dictionary)
        if names is column.dictionary:
            return column
        return pa.DictionaryArray.from_arrays(column.indices, names)
    if types.is_string_view(column.type):
        return column.cast(pa.large_string())
    if types.is_binary_view(column.type):
        return column.cast(pa.large_binary())
    return column


def decoded(column: pa.Array) -> pa.Array:
    """Decode a dictionary to the values that it stands for."""
    return column.dictionary_decode() if types.is_dictionary(column.type) else column


def as_text(name: str, column: pa.Array, *, not_text: str = "") -> pa.Array:
    """Convert a column to text, with times in RFC 3339.

    A float keeps its fraction, even if the fraction is zero. If the column is for text, `not_text`
    is put before values that are neither text nor whole numbers.

    Raises:
        MalformedBody: texts or binary values are not UTF-8.
    """
    column = decoded(column)
    texts = _as_text(name, column)
    if not_text and not _is_textual(column.type):
        return pc.binary_join_element_wise(not_text, texts, "")
    return texts


def _is_textual(dtype: pa.DataType) -> bool:
    """Whether values of a type are texts or whole numbers."""
    if types.is_decimal(dtype):
        return bool(_ZEROS_MAX < dtype.scale <= 0)
    return not (types.is_boolean(dtype) or types.is_floating(dtype) or types.is_temporal(dtype))


def _as_text(name: str, column: pa.Array) -> pa.Array:
    dtype = column.type
    if types.is_timestamp(dtype):
        return _times_as_text(column)
    if types.is_floating(dtype):
        # The library would write 1.0 as 1, which an id may be.
        texts = [None if value is None else repr(value) for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if types.is_decimal(dtype) and _ZEROS_MAX < dtype.scale < 0:
        # The library would write an exponent.
        texts = [None if value is None else f"{value:f}" for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if types.is_fixed_size_binary(dtype):
        column = column.cast(pa.binary())
    if types.is_string(dtype) or types.is_large_string(dtype):
        validate(name, column)  # a text of Parquet may have any bytes
    with _utf8(name):
        return column.cast(pa.string())


def validate(name: str, column: pa.Array) -> None:
    """Validate all values of a column.

    Raises:
        MalformedBody: texts are not UTF-8.
        pa.ArrowInvalid: the column is damaged.
    """
    with _utf8(name):
        column.validate(full=True)


@contextmanager
def _utf8(name: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
        raise MalformedBody(f"body: column {name} has bytes that are not UTF-8") from None


def _times_as_text(column: pa.Array) -> pa.Array:
    """Convert times to text; a time without a zone is UTC, as both formats define."""
    unit = UNITS_PER_S[column.type.unit]
    values = column.cast(pa.int64()).to_pylist()
    return pa.array([_time_as_text(value, unit) for value in values], pa.string())


def _time_as_text(value: int | None, units_per_s: int) -> str | None:
    if value is None:
        return None
    second = value // units_per_s
    if _YEAR_ONE_S <= second < _YEAR_10000_S:
        return f"{np.datetime64(second, 's')}Z"
    return str(value)
