"""Who makes an OAuth call: an app, alone or under a token (api.md 4.4 to 4.7).

Nothing is written before the signature was found good.
"""

from collections.abc import Callable, Sequence

from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.message import Message
from openengagement.auth.oauth1 import (
    NOBODYS_SECRET,
    Claim,
    Signed,
    check_signed,
    has_oauth_parameters,
    is_signed_by,
    parse_claim,
    read_nonce,
    verify_request,
)
from openengagement.auth.oauth2 import scheme_and_rest, verify_basic
from openengagement.errors import (
    AuthenticationError,
    ConsumerKeyNotFound,
    NonceUsed,
    RateLimited,
    UnknownAuthorization,
    UserContextRequired,
)
from openengagement.limits.contract import MINUTE_S, Limits, Nonce
from openengagement.registry.apps import App
from openengagement.settings import Settings


class OAuthVerifier:
    """Verifies OAuth calls against the registry; a signed one is good once."""

    def __init__(
        self,
        lookup: CredentialLookup,
        limits: Limits,
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._lookup = lookup
        self._limits = limits
        self._settings = settings
        self._now_s = now_s

    def read_claim(self, message: Message) -> Claim:
        """What a signed OAuth call claims; nothing of it is verified yet.

        Raises:
            UnknownAuthorization: it is not signed at all.
            AuthenticationError
        """
        _require_oauth(message)
        return parse_claim(message, json_body=False)

    def verify_claim(
        self,
        message: Message,
        claim: Claim,
        *,
        secrets_of: Callable[[App | None], Sequence[str | None]],
    ) -> App:
        """Verify an OAuth call whose token is not an access token, and remember its nonce.

        `secrets_of` gives the token secrets that will do; None stands for one that is not there.

        Raises:
            ConsumerKeyNotFound, TimestampOutOfBounds, InvalidSignature, NonceUsed
        """
        consumer = self._lookup.consumer(claim.fields["oauth_consumer_key"])
        found = secrets_of(consumer.app if consumer else None)
        secrets = [NOBODYS_SECRET if secret is None else secret for secret in found]
        good = is_signed_by(
            message, claim, consumer=consumer, token_secrets=secrets, json_body=False
        )
        if consumer is None:
            raise ConsumerKeyNotFound
        window_s = self._settings.timestamp_window_s
        check_signed(claim, good=good, now_s=self._now_s(), window_s=window_s)
        self._remember(read_nonce(claim))
        return consumer.app

    def verify_call(self, message: Message, *, user: bool = False) -> Signed:
        """Verify a signed OAuth call, and remember its nonce. `user` asks for an access token.

        Raises:
            UnknownAuthorization: it is not signed, or not under an access token where one is due.
            UserContextRequired: it shows a bearer token where an access token is due.
            AuthenticationError
        """
        if user and scheme_and_rest(message)[0] == "bearer":
            raise UserContextRequired
        _require_oauth(message)
        signed = self._verify(message)
        if user and signed.user is None:
            raise UnknownAuthorization
        self._remember(signed.nonce)
        return signed

    def count_request_token(self, app: App) -> None:
        """Count a request token against what its app may ask for; each is a row for a while.

        Raises:
            RateLimited
        """
        limits = {MINUTE_S: self._settings.request_tokens_per_minute}
        subject = b"request token %d" % app.id
        if self._limits.count(subject, limits, now_s=self._now_s())[0].exceeded:
            raise RateLimited

    def _remember(self, nonce: Nonce) -> None:
        """Refuse an OAuth call that was made before.

        Raises:
            NonceUsed
        """
        if self._settings.replay_protection != "off" and not self._limits.remember_nonce(nonce):
            raise NonceUsed

    def verify_basic(self, message: Message) -> App | None:
        """The app whose key and secret the request shows, or None."""
        return verify_basic(message, self._lookup)

    def verify_owner(self, message: Message) -> App | None:
        """The app whose owner signed an OAuth call, which then may not be repeated; or None.

        Raises:
            NonceUsed
        """
        try:
            _require_oauth(message)
            signed = self._verify(message)
        except AuthenticationError:
            return None
        app = signed.consumer.app
        if signed.user is None or signed.user.token.account_id != app.owner_id:
            return None
        self._remember(signed.nonce)
        return app

    def _verify(self, message: Message) -> Signed:
        return verify_request(
            message,
            self._lookup,
            now_s=self._now_s(),
            window_s=self._settings.timestamp_window_s,
            json_body=False,
        )


def _require_oauth(message: Message) -> None:
    """Refuse a call that shows no OAuth 1.0a signature at all."""
    scheme, _ = scheme_and_rest(message)
    if scheme != "oauth" and (scheme or not has_oauth_parameters(message)):
        raise UnknownAuthorization
