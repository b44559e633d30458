"""Authenticate data API requests, then apply replay protection and rate limits (api.md 3.4).

Nothing is written before the signature is verified, so a stranger can fill neither the store of
nonces nor a rate window.
"""

from collections.abc import Callable, Mapping

import msgspec

from openengagement.auth.lookup import CredentialLookup, UserToken
from openengagement.auth.oauth1 import SignatureVerifier, has_oauth_parameters
from openengagement.errors import (
    AppNotEnabled,
    AuthenticationError,
    BearerTokenNotFound,
    ConsumerKeyNotFound,
    MalformedAuthorization,
    NonceUsed,
    PlatformKeyExpired,
    PlatformKeyNotFound,
    ScopeMissing,
    UnknownAuthorization,
)
from openengagement.http.message import Message, scheme_and_rest
from openengagement.limits.contract import MINUTE_S, Limits, Nonce, RateWindow
from openengagement.registry.apps import App
from openengagement.registry.platform_keys import Scope
from openengagement.settings import Settings


class Caller(msgspec.Struct, frozen=True):
    """Who sent an authenticated request: an app, and the user whose access token it used.

    `user` is None for app-only requests. `nonce` is None for a bearer token; it is not remembered
    yet.
    """

    app: App
    user: UserToken | None
    nonce: Nonce | None

    @property
    def user_id(self) -> int | None:
        """The account ID of the user; None for app-only requests."""
        return self.user.token.account_id if self.user else None


def app_limits(app: App, settings: Settings) -> tuple[bytes, dict[int, int]]:
    """Return the subject under which an app's requests are counted, and their limits.

    The limits map the length of a window in seconds to a number of requests, the minute first.
    """
    limits = {MINUTE_S: app.per_minute or settings.rate_limit_per_minute}
    if settings.rate_limit_per_second:
        limits[1] = settings.rate_limit_per_second
    return b"app %d" % app.id, limits


def count_once(
    store: Limits,
    nonce: Nonce | None,
    *,
    subject: bytes,
    limits: Mapping[int, int],
    now_s: float,
) -> list[RateWindow]:
    """Count a request in its rate windows, and remember its nonce, if any, in the same step.

    Raises:
        NonceUsed: nothing was counted.
    """
    if nonce is None:
        return store.count(subject, limits, now_s=now_s)
    windows = store.remember_nonce_and_count(nonce, subject, limits=limits, now_s=now_s)
    if windows is None:
        raise NonceUsed
    return windows


class Authenticator:
    """Authenticates requests and enforces limits.

    Calls `note_used` with every access token in use, and with the hash of every platform key.
    """

    def __init__(
        self,
        lookup: CredentialLookup,
        limits: Limits,
        *,
        settings: Settings,
        note_used: Callable[[str | bytes], None],
        now_s: Callable[[], float],
    ) -> None:
        # Whether calls may wait for a network, so that none may be made on the event loop.
        self.blocking = lookup.blocking or limits.blocking
        self._signatures = SignatureVerifier(
            lookup,
            window_s=settings.timestamp_window_s,
            now_s=now_s,
            explains=settings.log_refusals,
        )
        self._lookup = lookup
        self._limits = limits
        self._settings = settings
        self.note_used = note_used
        self._now_s = now_s

    def authenticate(self, message: Message) -> Caller:
        """Verify the bearer token or the OAuth 1.0a signature of a request.

        Raises:
            AuthenticationError: one of its leaves says which check failed.
        """
        if len(message.authorization) > 1:
            raise MalformedAuthorization("the Authorization header is given twice")
        scheme, rest = scheme_and_rest(message)
        if scheme == "bearer":
            return self._authenticate_bearer(message, rest)
        if scheme == "oauth" or (not scheme and has_oauth_parameters(message)):
            verified = self._signatures.verify(message, json_body=True)
            return Caller(verified.consumer.app, verified.user, verified.nonce)
        raise UnknownAuthorization

    def authenticate_head(self, message: Message) -> Caller | None:
        """Authenticate a request before its body is read; `message` has none yet.

        Returns None for a form that only its body can authenticate: it may hold the OAuth
        parameters, or the signature may cover it.

        Raises:
            AuthenticationError: as `authenticate`.
        """
        try:
            return self.authenticate(message)
        except (ConsumerKeyNotFound, BearerTokenNotFound):
            raise
        except AuthenticationError:
            if message.is_form:
                return None
            raise

    def _authenticate_bearer(self, message: Message, token: str) -> Caller:
        if has_oauth_parameters(message):
            raise MalformedAuthorization("a bearer token and oauth parameters are given at once")
        app = self._lookup.find_by_bearer(token)
        if app is None:
            raise BearerTokenNotFound
        return Caller(app, None, None)

    def enforce_limits(self, caller: Caller) -> list[RateWindow]:
        """Refuse a replay and an app that is not enabled, then count the request.

        Returns the app's rate windows with this request counted, the minute's first and then the
        second's, if one is set. The caller must refuse the request if a window is exceeded.

        Raises:
            NonceUsed, AppNotEnabled
        """
        app, now_s = caller.app, self._now_s()
        nonce = caller.nonce if self._settings.replay_protection == "strict" else None
        if not app.enabled or app.suspended:
            if nonce and not self._limits.remember_nonce(nonce):
                raise NonceUsed
            raise AppNotEnabled(suspended=app.suspended)
        subject, limits = app_limits(app, self._settings)
        windows = count_once(self._limits, nonce, subject=subject, limits=limits, now_s=now_s)
        if caller.user:
            self.note_used(caller.user.token.token)
        return windows

    def require_platform_key(self, message: Message, scope: Scope) -> bytes:
        """Refuse a platform call without a key with this scope; return the key's stored hash.

        Raises:
            UnknownAuthorization, PlatformKeyNotFound, PlatformKeyExpired, ScopeMissing
        """
        scheme, rest = scheme_and_rest(message)
        if scheme != "bearer":
            raise UnknownAuthorization("send the platform key as Authorization: Bearer KEY")
        key = self._lookup.find_platform_key(rest)
        if key is None:
            raise PlatformKeyNotFound
        if key.is_expired(self._now_s()):
            raise PlatformKeyExpired
        if not key.allows(scope):
            raise ScopeMissing(scope)
        self.note_used(key.key_hash)
        return key.key_hash
