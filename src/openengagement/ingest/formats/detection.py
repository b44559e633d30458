"""Detect the format of a body."""

from codecs import BOM_UTF8
from enum import StrEnum
from typing import Final

from openengagement.errors import UnsupportedBody


class Format(StrEnum):
    """A format, by the media type that names it."""

    NDJSON = "application/x-ndjson"
    JSON = "application/json"
    CSV = "text/csv"
    PARQUET = "application/vnd.apache.parquet"
    ARROW = "application/vnd.apache.arrow.stream"


_MEDIA_TYPES: Final = {
    **{form.value: form for form in Format},
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "application/x-jsonlines": Format.NDJSON,
    "application/csv": Format.CSV,
    "application/x-parquet": Format.PARQUET,
    "application/vnd.apache.arrow.file": Format.ARROW,
}
# The first bytes decide if the media type names no format, such as the one that curl sends.
_FIRST_BYTES: Final = (
    (b"PAR1", Format.PARQUET),
    (b"ARROW1", Format.ARROW),
    (b"\xff\xff\xff\xff", Format.ARROW),
    (b"[", Format.JSON),
)


def detect_format(content_type: str, body: bytes) -> Format:
    """Detect the format of a body from its media type, else from its first bytes.

    Raises:
        UnsupportedBody: neither names a format.
    """
    named = _MEDIA_TYPES.get(content_type.partition(";")[0].strip().lower())
    if named not in {None, Format.JSON}:
        return named
    start = body.removeprefix(BOM_UTF8).lstrip()
    if start.startswith(b"{"):
        return detect_objects(start)
    if named is not None:
        return named
    for first_bytes, form in _FIRST_BYTES:
        if start.startswith(first_bytes):
            return form
    allowed = ", ".join(form.value for form in Format)
    raise UnsupportedBody(f"Content-Type: send one of {allowed}")


def detect_objects(start: bytes) -> Format:
    """Detect whether JSON objects have one line each, or perhaps several, by their first line."""
    first_line = start[: start.find(b"\n") + 1 or None].rstrip()  # the rest can be large
    return Format.NDJSON if first_line.endswith(b"}") else Format.JSON
