"""The state that all calls to one server share: credentials, policy, clock and rate limits."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from openengagement_client.authorization import authorize, make_stamp
from openengagement_client.clock import ServerClock
from openengagement_client.credentials import Profile
from openengagement_client.errors import ConfigurationError
from openengagement_client.http_messages import ApiCall, HttpRequest, HttpResponse
from openengagement_client.rate_limits import RateLimitWindows
from openengagement_client.retry_policy import RetryPolicy

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Session:
    """The state that all calls to one server share.

    `make_authorization(method, url=..., stamp=...)` returns the header of an attempt.
    `jitter()` returns a number from 0 to 1, the random part of a back-off.
    """

    url: str
    make_authorization: Callable[..., str] = field(repr=False)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    clock: ServerClock = field(default_factory=ServerClock)
    rate_limits: RateLimitWindows = field(default_factory=RateLimitWindows)
    jitter: Callable[[], float] = random.random

    def attempt(self, call: ApiCall) -> HttpRequest:
        """Build a request with a new nonce and the server's time."""
        url = self.url + call.path
        stamp = make_stamp(self.clock.now_s())
        authorization = self.make_authorization(call.method, url=url, stamp=stamp)
        headers = {"accept-encoding": "gzip", **call.headers, "authorization": authorization}
        return HttpRequest(call.method, url, headers, call.body)

    def observe(self, response: HttpResponse) -> None:
        """Learn the server's clock and the rate limits from an answer."""
        self.clock.observe(response.headers.get("date"))
        self.rate_limits.observe(response.headers)


def check_url(url: str, *, allow_plain_http: bool = False) -> str:
    """Return the URL without a slash at its end.

    Raises:
        ConfigurationError: it is not a URL of a server, or would send secrets in the clear to
            another machine.
    """
    if "@" in url:  # before any message that shows the URL
        raise ConfigurationError("the URL must not contain a user or password")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigurationError(f"{url!r} is not the URL of a server, such as https://example.com")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_plain_http:
        raise ConfigurationError(
            f"{url} would send credentials unencrypted: use https "
            "(in Python, Options(allow_plain_http=True) allows it)"
        )
    return url.rstrip("/")


def open_session(
    profile: Profile, policy: RetryPolicy | None, *, allow_plain_http: bool
) -> Session:
    """Build the session of a client.

    Raises:
        ConfigurationError: the URL is unusable.
    """
    url = check_url(profile.url, allow_plain_http=allow_plain_http)
    return Session(url, partial(authorize, profile.credentials), policy or RetryPolicy())
