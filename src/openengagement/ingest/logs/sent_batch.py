"""The header of a message that has a batch of the HTTP intake: how the batch is to be counted."""

import base64
import binascii

import msgspec

from openengagement.errors import MalformedBody


class SentBatch(msgspec.Struct, frozen=True, omit_defaults=True):
    """An idempotency key, the digest of the body as its sender sent it, and the first outcome.

    `at_s` is when the intake accepted the events, in Unix seconds.
    """

    at_s: int
    digest: bytes = b""
    outcome: bytes = b""
    key: bytes | None = None


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
