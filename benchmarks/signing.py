"""Requests as bytes, signed before the clock starts."""

import hmac
import os
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from product import HOST


@dataclass(frozen=True, slots=True)
class Keys:
    """All credentials of an app."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str
    bearer: str
    platform_key: str


def authorization(keys: Keys, port: int, path: str) -> str:
    """Build an OAuth 1.0a header for a JSON body, with a new nonce."""
    fields = {
        "oauth_consumer_key": keys.consumer_key,
        "oauth_nonce": os.urandom(16).hex(),
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(int(time.time())),
        "oauth_token": keys.access_token,
        "oauth_version": "1.0",
    }
    # Names come sorted, and no value but the signature has anything to escape.
    joined = "&".join(f"{name}={value}" for name, value in fields.items())
    base = f"POST&{quote(f'http://{HOST}:{port}{path}', safe='')}&{quote(joined, safe='')}"
    key = f"{keys.consumer_secret}&{keys.access_token_secret}"
    signature = b64encode(hmac.digest(key.encode(), base.encode(), "sha1")).decode()
    fields["oauth_signature"] = quote(signature, safe="")
    return "OAuth " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


def requests(
    keys: Keys, port: int, path: str, *, bodies: Sequence[bytes], bearer: bool = False
) -> list[bytes]:
    """Build one request per body, as clients send them."""
    made = []
    for body in bodies:
        allowed = f"Bearer {keys.bearer}" if bearer else authorization(keys, port, path)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUser-Agent: python-requests/2.32.3\r\n"
            "Accept-Encoding: gzip\r\nAccept: */*\r\nConnection: keep-alive\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: {allowed}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made
