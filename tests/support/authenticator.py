"""An authenticator app, as on a person's phone: it shows the codes of a secret (RFC 6238)."""

import hmac
import struct
import time
from base64 import b32decode

STEP_S = 30


def code_at(secret: str, step: int) -> str:
    """Return the code of a time step."""
    key = b32decode("".join(secret.split()))
    digest = hmac.digest(key, struct.pack(">Q", step), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return f"{number % 1_000_000:06d}"


def code_now(secret: str, *, beside: int = 0) -> str:
    """Return the code that the app shows now, or `beside` steps of 30 s later."""
    return code_at(secret, int(time.time()) // STEP_S + beside)


def wrong_code(secret: str) -> str:
    """Return six digits that the app shows at no time near now."""
    near = {code_now(secret, beside=beside) for beside in range(-3, 20)}
    return next(text for text in (f"{number:06d}" for number in range(99)) if text not in near)
