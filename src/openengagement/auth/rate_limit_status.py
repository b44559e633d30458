"""The rate limits of the caller: `application/rate_limit_status` (api.md 4.7)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openengagement.auth.authenticate import Authenticator, Caller, app_limits, count_once
from openengagement.auth.identity import PER_QUARTER, QUARTER_S, identity_subject
from openengagement.auth.verifier import request_token_subject
from openengagement.errors import AppSuspended, RateLimited
from openengagement.http.message import Message
from openengagement.limits.contract import MINUTE_S, Limits, RateWindow
from openengagement.settings import Settings

STATUS_PATH: Final = "/application/rate_limit_status"
STATUS_PER_QUARTER: Final = 180
_DATA_PATHS: Final = tuple(
    f"/insights/engagement/{name}" for name in ("totals", "28hr", "historical")
)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The caller, and its current rate windows by path. The API calls share one window."""

    caller: Caller
    windows: Mapping[str, RateWindow]


class RateLimitStatus:
    """Answers rate_limit_status, at most STATUS_PER_QUARTER times per caller in QUARTER_S seconds.

    A call counts against this limit only. It reads the other windows and does not change them.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limits,
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._settings = settings
        self._now_s = now_s

    def read(self, message: Message) -> RateLimits:
        """Authenticate a call with any credentials of the data API; return its rate limits.

        Raises:
            AuthenticationError, RateLimited
        """
        caller = self._authenticator.authenticate(message)
        own = self._count(caller)
        if caller.app.suspended:
            raise AppSuspended
        if own.exceeded:
            raise RateLimited
        app, windows = caller.app, {STATUS_PATH: own}
        if caller.user:
            subject = identity_subject(caller.user.token)
            self._authenticator.note_used(caller.user.token.token)
            windows["/account/verify_credentials"] = self._read(
                subject, length_s=QUARTER_S, limit=PER_QUARTER
            )
        subject, limits = app_limits(app, self._settings)
        shared = self._read(subject, length_s=MINUTE_S, limit=limits[MINUTE_S])
        per_minute = self._settings.request_tokens_per_minute
        windows |= dict.fromkeys(_DATA_PATHS, shared)
        windows["/oauth/request_token"] = self._read(
            request_token_subject(app), length_s=MINUTE_S, limit=per_minute
        )
        return RateLimits(caller, windows)

    def _count(self, caller: Caller) -> RateWindow:
        name = caller.user.token.token if caller.user else f"app {caller.app.id}"
        subject, limits = f"status {name}".encode(), {QUARTER_S: STATUS_PER_QUARTER}
        nonce = caller.nonce if self._settings.replay_protection != "off" else None
        now_s = self._now_s()
        return count_once(self._limits, nonce, subject=subject, limits=limits, now_s=now_s)[0]

    def _read(self, subject: bytes, *, length_s: int, limit: int) -> RateWindow:
        return self._limits.read(subject, {length_s: limit}, now_s=self._now_s())[0]
