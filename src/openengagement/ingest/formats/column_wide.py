"""Read Parquet and Arrow with 128-bit integers, which only polars writes and only polars reads.

The decoder process imports the data frame library for such a body alone. The body is held whole.
"""

import io

import pyarrow as pa
from pyarrow import ipc

from openengagement.errors import BodyTooLarge, MalformedBody
from openengagement.ingest.formats.decoder_protocol import Request


def read_wide(body: bytes, request: Request, *, is_stream: bool) -> pa.Table:
    """Read the columns of a request; those of 128-bit integers become text.

    Raises:
        MalformedBody: data follows the end of an Arrow stream.
        BodyTooLarge: a Parquet file has too many rows.
        pa.ArrowInvalid: the library cannot read the body either.
    """
    import polars as pl  # noqa: PLC0415 - slow, and seldom wanted

    source = io.BytesIO(body)
    try:
        if is_stream:
            _check_one_stream(body)
            frame = pl.read_ipc_stream(source)
        elif body.startswith(b"PAR1"):
            if pl.scan_parquet(source).select(pl.len()).collect().item() > request.rows_max:
                raise BodyTooLarge("rows")
            frame = pl.read_parquet(io.BytesIO(body))
        else:
            frame = pl.read_ipc(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise pa.ArrowInvalid(type(error).__name__) from None
    wide = pl.col(pl.Int128, pl.UInt128).cast(pl.String)
    ours = frame.select(name for name in request.fields if name in frame.columns)
    return ours.with_columns(wide).to_arrow()


def _check_one_stream(body: bytes) -> None:
    source = pa.BufferReader(body)
    for _ in ipc.MessageReader.open_stream(source):
        pass
    if source.tell() < len(body):
        raise MalformedBody("body: has data after the end of the Arrow stream")
