"""An HTTP client for the API. Its responses keep their bytes as they were sent."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests_oauthlib import OAuth1
from urllib3.util import SKIP_HEADER

from support.stores import wait_for_change_at
from support.waiting import PATIENCE_S
from support.world import App

SAFE = ("GET", "HEAD", "OPTIONS")
DATA_PATHS = ("/insights/", "/platform/v1/events", "/platform/v1/tweets")  # change no credentials
RATE_HEADERS = tuple(
    f"x-per-{unit}-{what}"
    for unit in ("minute", "second")
    for what in ("limit", "remaining", "reset")
)


@dataclass(frozen=True)
class Answer:
    """A response. `raw` is the body before decompression."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @cached_property
    def body(self) -> bytes:
        return gzip.decompress(self.raw) if self.is_gzip else self.raw

    @property
    def is_gzip(self) -> bool:
        return self.headers.get("content-encoding") == "gzip"

    @property
    def code(self) -> str:
        """The stable name of an error, from `x-error-code`."""
        return self.headers.get("x-error-code", "")

    def json(self) -> Any:
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.status} {self.code} {self.body[:300]!r}>"


class Bearer(AuthBase):
    """App-only authentication with a bearer token."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


def sign_as_user(app: App, **options: Any) -> OAuth1:
    """Sign with OAuth 1.0a and the access token of the app's owner."""
    return OAuth1(
        app.consumer_key,
        app.consumer_secret,
        app.access_token,
        app.access_token_secret,
        **options,
    )


def sign_as_app(app: App, **options: Any) -> OAuth1:
    """Sign with OAuth 1.0a and the consumer key and secret only."""
    return OAuth1(app.consumer_key, app.consumer_secret, **options)


class Client:
    """Sends requests to one server. Accepts gzip unless a request's headers say otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.clear()

    def close(self) -> None:
        self.session.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        auth: AuthBase | None = None,
    ) -> Answer:
        """Send one request. A body that is neither bytes nor text is sent as JSON.

        A header of None is not sent at all.
        """
        given = CaseInsensitiveDict({"Accept-Encoding": "gzip"})
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body)
            given["Content-Type"] = "application/json"
        given.update(headers or {})
        if given["Accept-Encoding"] is None:
            given["Accept-Encoding"] = SKIP_HEADER  # urllib3 would add a header of its own
        if isinstance(body, str):
            body = body.encode()
        with self.session.request(
            method,
            self.url + path,
            data=body,
            headers=given,
            auth=auth,
            timeout=PATIENCE_S,
            stream=True,
            allow_redirects=False,
        ) as response:
            raw = response.raw.read(decode_content=False)
            answer = Answer(response.status_code, response.headers, raw)
        if method not in SAFE and not path.startswith(DATA_PATHS):
            wait_for_change_at(self.url)
        if answer.status == 413:
            # The server closes the connection, since it has not read the body. The close may arrive
            # after the response, and the next request must not use the connection.
            self.session.close()
        return answer

    def ask(
        self,
        endpoint: str,
        body: Any,
        auth: AuthBase | None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request to one of the three endpoints."""
        return self.send(
            "POST", f"/insights/engagement/{endpoint}", body=body, headers=headers, auth=auth
        )

    def platform(
        self,
        method: str,
        path: str,
        key: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call the platform API with a platform key. `path` is relative to `/platform/v1/`."""
        return self.send(
            method, f"/platform/v1/{path}", body=body, headers=headers, auth=Bearer(key)
        )


def question(*tweet_ids: str, types: tuple[str, ...] = ("favorites",), **fields: Any) -> Any:
    """Make a request body for these Tweets with one grouping, by Tweet and type."""
    return {
        "tweet_ids": list(tweet_ids),
        "engagement_types": list(types),
        "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
        **fields,
    }
