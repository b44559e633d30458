"""gzip for what browsers load: static files ahead of time, long pages as they are made."""

import gzip
import os
from io import BytesIO
from typing import Final

from starlette.responses import Response

_LEVEL: Final = 5
_PADDING_MAX: Final = 100


def accepts_gzip(header: str) -> bool:
    """Whether an `Accept-Encoding` names gzip, and not with a weight of nothing (RFC 9110)."""
    for part in header.lower().split(","):
        name, *parameters = [each.strip() for each in part.split(";")]
        if name == "gzip":
            weights = [each[2:].strip() for each in parameters if each.startswith("q=")]
            return not weights or weights[0].strip("0.") != ""
    return False


def compress_page(response: Response, accepted: str) -> Response:
    """A page as this `Accept-Encoding` may have it.

    A page holds a token of its forms beside words from its address, so its compressed length could
    tell of one by the other (BREACH). Padding of a random length in gzip's header blurs it.
    """
    response.headers["vary"] = "accept-encoding"
    if not accepts_gzip(accepted):
        return response
    packed = BytesIO()
    padding = os.urandom(_PADDING_MAX).hex()[: 1 + os.urandom(1)[0] % _PADDING_MAX]
    with gzip.GzipFile(padding, "wb", _LEVEL, packed, mtime=0) as file:
        file.write(bytes(response.body))
    response.body = packed.getvalue()
    response.headers["content-encoding"] = "gzip"
    response.headers["content-length"] = str(len(response.body))
    return response
