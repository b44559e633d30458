"""Verify OAuth calls, signed by an app alone or with a token (api.md 4.4 to 4.7).

Nothing is written before the signature is verified.
"""

from collections.abc import Callable, Sequence

from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.oauth1 import (
    STAND_IN_SECRET,
    OAuthParameters,
    SignatureVerifier,
    VerifiedRequest,
    has_oauth_parameters,
    parse_oauth_parameters,
)
from openengagement.auth.oauth2 import verify_basic
from openengagement.errors import (
    AuthenticationError,
    NonceUsed,
    RateLimited,
    UnknownAuthorization,
    UserContextRequired,
)
from openengagement.http.message import Message, scheme_and_rest
from openengagement.limits.contract import MINUTE_S, Limits, Nonce
from openengagement.registry.apps import App
from openengagement.settings import Settings


class OAuthVerifier:
    """Verifies OAuth calls against the registry. Each signature is accepted once."""

    def __init__(
        self,
        lookup: CredentialLookup,
        limits: Limits,
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._signatures = SignatureVerifier(
            lookup,
            window_s=settings.timestamp_window_s,
            now_s=now_s,
            explains=settings.log_refusals,
        )
        self._lookup = lookup
        self._limits = limits
        self._settings = settings
        self._now_s = now_s

    def parse(self, message: Message) -> OAuthParameters:
        """Parse a signed OAuth call without verifying it.

        Raises:
            UnknownAuthorization: the call is not signed.
            MalformedAuthorization, UnsupportedSignature
        """
        _require_oauth(message)
        return parse_oauth_parameters(message, json_body=False)

    def verify_access_token_call(
        self,
        message: Message,
        parameters: OAuthParameters,
        *,
        find_secrets: Callable[[App | None], Sequence[str | None]],
    ) -> App:
        """Verify a call to oauth/access_token, which is signed with a request token's secret.

        `find_secrets` returns the token secrets that are accepted for an app; None stands for the
        secret of a token that does not exist.

        Raises:
            ConsumerKeyNotFound, TimestampOutOfBounds, InvalidSignature, NonceUsed
        """
        consumer = self._lookup.find_consumer(parameters.protocol["oauth_consumer_key"])
        found = find_secrets(consumer.app if consumer else None)
        secrets = [STAND_IN_SECRET if secret is None else secret for secret in found]
        nonce = self._signatures.verify_with(
            message, parameters, consumer=consumer, token_secrets=secrets
        )
        assert consumer is not None
        self._remember(nonce)
        return consumer.app

    def verify_call(self, message: Message, *, user: bool = False) -> VerifiedRequest:
        """Verify any other signed OAuth call. `user` says that it needs an access token.

        Raises:
            UnknownAuthorization: the call is not signed, or names no access token but needs one.
            UserContextRequired: the call has a bearer token but needs an access token.
            NonceUsed: the call was made before.
            AuthenticationError: one of its leaves says which check failed.
        """
        if user and scheme_and_rest(message)[0] == "bearer":
            raise UserContextRequired
        _require_oauth(message)
        verified = self._signatures.verify(message, json_body=False)
        if user and verified.user is None:
            raise UnknownAuthorization
        self._remember(verified.nonce)
        return verified

    def limit_request_tokens(self, app: App) -> None:
        """Count a request token, which takes a row of the registry, against the app's rate limit.

        Raises:
            RateLimited
        """
        limits = {MINUTE_S: self._settings.request_tokens_per_minute}
        subject = request_token_subject(app)
        if self._limits.count(subject, limits, now_s=self._now_s())[0].exceeded:
            raise RateLimited

    def verify_basic(self, message: Message) -> App | None:
        """The app whose consumer key and secret are the request's Basic credentials, or None."""
        return verify_basic(message, self._lookup)

    def verify_owner(self, message: Message) -> App | None:
        """The app of a call signed with the access token of the app's owner, or None.

        Raises:
            NonceUsed: the call was made before.
        """
        try:
            _require_oauth(message)
            verified = self._signatures.verify(message, json_body=False)
        except AuthenticationError:
            return None
        app = verified.consumer.app
        if verified.user is None or verified.user.token.account_id != app.owner_id:
            return None
        self._remember(verified.nonce)
        return app

    def _remember(self, nonce: Nonce) -> None:
        if self._settings.replay_protection != "off" and not self._limits.remember_nonce(nonce):
            raise NonceUsed


def request_token_subject(app: App) -> bytes:
    """Return the subject under which an app's request tokens are counted."""
    return b"request token %d" % app.id


def _require_oauth(message: Message) -> None:
    """Refuse a call without any OAuth 1.0a signature.

    Raises:
        UnknownAuthorization
    """
    scheme, _ = scheme_and_rest(message)
    if scheme != "oauth" and (scheme or not has_oauth_parameters(message)):
        raise UnknownAuthorization
