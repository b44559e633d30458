"""The header of a message that has a batch of the HTTP intake: how the batch is to be counted."""

import base64
import binascii
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openengagement.errors import MalformedBody

OUTCOME_BYTES_MAX: Final = 16_384  # NATS limits all headers to 64 KiB
# The ledger stores these fields. A publisher must not be able to fill it with large ones.
_DIGEST_BYTES: Final = 32
_KEY_BYTES_MAX: Final = 1024
_AT_S_MAX: Final = 2**40


class SentBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """An idempotency key, the digest of the body as its sender sent it, and the first outcome.

    `at_s` is when the intake accepted the events, in Unix seconds.
    """

    at_s: Annotated[int, Meta(ge=0, le=_AT_S_MAX)]
    digest: Annotated[bytes, Meta(max_length=_DIGEST_BYTES)] = b""
    outcome: Annotated[bytes, Meta(max_length=OUTCOME_BYTES_MAX)] = b""
    key: Annotated[bytes, Meta(min_length=1, max_length=_KEY_BYTES_MAX)] | None = None


def encode_batch(batch: SentBatch) -> str:
    """Encode a batch as the value of a header."""
    return base64.b64encode(msgspec.json.encode(batch)).decode()


def decode_batch(header: str) -> SentBatch | None:
    """Decode the value of a header, None if the message has none.

    Raises:
        MalformedBody: it is none of `encode_batch`.
    """
    if not header:
        return None
    try:
        return msgspec.json.decode(base64.b64decode(header, validate=True), type=SentBatch)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise MalformedBody(f"header Openengagement-Batch: {error}") from None
