"""A notification as a webhook receives it, signed as Standard Webhooks says.

The specification is at https://www.standardwebhooks.com. The secret is `whsec_` and Base64.
"""

import base64
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from openengagement.engagement.types import format_time
from openengagement.registry.notifications import NotificationType

SECRET_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class Message:
    """A notification. `data` is JSON. Every attempt and every receiver gets the same."""

    id: str
    type: str
    created_at_s: int
    data: str

    @property
    def body(self) -> bytes:
        """The JSON that is sent."""
        timestamp = format_time(self.created_at_s)
        data = msgspec.Raw(self.data.encode())
        return msgspec.json.encode({"type": self.type, "timestamp": timestamp, "data": data})


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an attempt: the status of the answer, or the name of an error.

    After `is_final`, no retry would help.
    """

    text: str
    is_delivered: bool = False
    is_final: bool = False


def draw_test(*, now_s: int) -> Message:
    """Return a new message that only tests a receiver."""
    return Message(f"msg_{uuid4().hex}", NotificationType.TEST, now_s, "{}")


def sign_message(message: Message, secrets: Iterable[str], *, now_s: int) -> dict[str, str]:
    """Return the headers of one attempt, with a signature under each secret."""
    signed = f"{message.id}.{now_s}.".encode() + message.body
    return {
        "webhook-id": message.id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": " ".join(_sign(signed, secret) for secret in secrets),
    }


def _sign(signed: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
