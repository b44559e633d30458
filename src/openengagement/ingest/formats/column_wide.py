"""Read Parquet and Arrow with 128-bit integers, which only polars writes and only polars reads.

The decoder process imports the data frame library for such a body alone. The body is held whole.
"""

import io
from typing import TYPE_CHECKING

import pyarrow as pa

from openengagement.errors import MalformedBody
from openengagement.ingest.formats.column_text import unsuitable_type
from openengagement.ingest.formats.decoder_protocol import Request

if TYPE_CHECKING:
    import polars as pl


def read_wide(body: bytes, request: Request) -> pa.Table:
    """Read a file or one stream, with all its columns.

    Columns of 128-bit integers become text. Columns that are not requested become null.

    Raises:
        MalformedBody: a requested column has nested values, or the library cannot read the body.
    """
    import polars as pl  # noqa: PLC0415 - slow, and seldom wanted

    try:
        frame = _read_frame(body)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        text = (
            f"body: is damaged, or has a type or encoding of {request.name} that is not supported"
        )
        raise MalformedBody(text) from None
    for name, dtype in frame.schema.items():
        if name in request.fields and dtype.is_nested():
            raise unsuitable_type(name, dtype)
    others = (pl.lit(None).alias(name) for name in frame.columns if name not in request.fields)
    return (
        frame.with_columns(pl.col(pl.Int128, pl.UInt128).cast(pl.String))
        .with_columns(others)
        .to_arrow()
    )


def _read_frame(body: bytes) -> "pl.DataFrame":
    import polars as pl  # noqa: PLC0415

    if body.startswith(b"ARROW1"):
        return pl.read_ipc(io.BytesIO(body))
    if body.startswith(b"PAR1"):
        return pl.read_parquet(io.BytesIO(body))
    return pl.read_ipc_stream(io.BytesIO(body))
