"""The three-legged flow: an app asks, a person authorizes it, the app gets an access token.

RFC 5849, section 2, and api.md 4.4 to 4.7. The app's calls are signed; the person decides on the
consent page (`portal.consent`). A call changes data only after its signature was verified and its
nonce was remembered.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openengagement.auth.callbacks import with_query
from openengagement.auth.credentials import (
    Granted,
    draw_access_token,
    draw_verifier,
    issue_request_token,
)
from openengagement.auth.keyring import Keyring
from openengagement.auth.verifier import OAuthVerifier
from openengagement.errors import (
    AppSuspended,
    CallbackNotApproved,
    ConsumerKeyNotFound,
    DesktopAppsOnlyPin,
    InvalidSignature,
    InvalidVerifier,
    RequestTokenMissing,
    RequestTokenNotFound,
)
from openengagement.http.message import Message
from openengagement.registry.accounts import Account
from openengagement.registry.apps import App, AppRemoved
from openengagement.registry.grants import OOB, RequestToken
from openengagement.registry.registry import Registry

REQUEST_TOKEN_S: Final = 15 * 60
ATTEMPTS_MAX: Final = 5  # of 10 million PINs


@dataclass(frozen=True, slots=True)
class Pending:
    """A request token that a person may decide on, its app, and the app's owner."""

    app: App
    owner: Account
    request: RequestToken


@dataclass(frozen=True, slots=True)
class Issued:
    """An issued access token, its secret in the clear, and the account that it acts for."""

    token: str
    secret: str
    account: Account


class ThreeLeggedFlow:
    """Issues request tokens, records decisions, and issues access tokens.

    A request token ends after REQUEST_TOKEN_S seconds or ATTEMPTS_MAX attempts at its verifier.
    With `lenient`, the looser signatures of api.md 4.6 are accepted.
    """

    def __init__(
        self,
        verifier: OAuthVerifier,
        registry: Registry,
        *,
        keyring: Keyring,
        now_s: Callable[[], float],
        lenient: bool = False,
    ) -> None:
        self._verifier = verifier
        self._registry = registry
        self._grants = registry.grants
        self._keyring = keyring
        self._now_s = now_s
        self._lenient = lenient

    @property
    def _oldest_s(self) -> int:
        return int(self._now_s()) - REQUEST_TOKEN_S

    def request_token(self, message: Message) -> tuple[str, str]:
        """Answer oauth/request_token: issue a request token and its secret (api.md 4.4).

        Raises:
            AuthenticationError: one of its leaves says which check failed.
            CallbackNotApproved, DesktopAppsOnlyPin: the app did not register this callback URL.
            RateLimited: the app asked for too many request tokens in this minute.
            ConsumerKeyNotFound: the app was removed meanwhile.
        """
        verified = self._verifier.verify_call(message)
        app = verified.consumer.app
        if app.suspended:
            raise AppSuspended
        self._verifier.limit_request_tokens(app)
        callback = self._choose_callback(app, verified.parameter("oauth_callback"))
        level = app.access_level.limited_to(verified.parameter("x_auth_access_type"))
        template = RequestToken("", app.id, b"", callback, level, int(self._now_s()))
        try:
            return issue_request_token(
                self._registry, self._keyring, template=template, forget_before_s=self._oldest_s
            )
        except AppRemoved:
            raise ConsumerKeyNotFound from None

    def _choose_callback(self, app: App, given: str | None) -> str:
        registered = self._registry.apps.read_callbacks(app.id)
        if not given:  # some clients send none and expect the first registered one
            return registered[0] if registered else OOB
        if given == OOB or given in registered:
            return given
        if not registered:
            raise DesktopAppsOnlyPin
        error = CallbackNotApproved()
        error.add_note(f"Registered, letter for letter: {', '.join(registered)}.")
        raise error

    def read_pending(self, token: str, *, account_id: int | None = None) -> Pending:
        """Find a request token that nobody has decided on, or that `account_id` has authorized.

        Raises:
            RequestTokenNotFound: the token is unknown, expired or used, another person decided on
                it, or its app is suspended.
        """
        request = self._grants.find_request_token(token, oldest_s=self._oldest_s)
        app = self._registry.apps.read_app(request.app_id) if request else None
        owner = self._registry.accounts.read_account(app.owner_id) if app else None
        if request is None or app is None or owner is None:
            raise RequestTokenNotFound
        if request.account_id not in {None, account_id} or app.suspended:
            raise RequestTokenNotFound
        return Pending(app, owner, request)

    def is_granted(self, pending: Pending, account_id: int) -> bool:
        """Whether this person's access token for the app covers the requested access level."""
        found = self._grants.read_access_token(app_id=pending.app.id, account_id=account_id)
        return found is not None and found.access_level.covers(pending.request.access_level)

    def authorize(self, pending: Pending, account_id: int) -> str:
        """Record that a person authorizes the app (api.md 4.5).

        Returns the URL to send the person to, or the PIN to show if the callback is OOB. A second
        authorization by the same person, such as a double click, returns the same.

        Raises:
            RequestTokenNotFound: another person decided on it meanwhile.
        """
        request = pending.request
        verifier = draw_verifier(pin=request.callback == OOB)
        encrypted = self._keyring.encrypt(verifier)
        if not self._grants.authorize(request.token, account_id=account_id, verifier=encrypted):
            decided = self.read_pending(request.token, account_id=account_id).request
            if decided.verifier is None:
                raise RequestTokenNotFound
            verifier = self._keyring.decrypt(decided.verifier)
        if request.callback == OOB:
            return verifier
        return with_query(request.callback, oauth_token=request.token, oauth_verifier=verifier)

    def deny(self, pending: Pending) -> str | None:
        """Revoke a request token that a person denied. Returns the URL back to the app, if any."""
        request = pending.request
        self._grants.drop_request_token(request.token)
        if request.callback == OOB:
            return None
        return with_query(request.callback, denied=request.token)

    def access_token(self, message: Message) -> Issued:
        """Answer oauth/access_token: exchange an authorized request token (api.md 4.6).

        Raises:
            AuthenticationError: one of its leaves says which check failed.
        """
        parameters = self._verifier.parse(message)
        token = parameters.token
        request = self._grants.find_request_token(token, oldest_s=self._oldest_s) if token else None
        try:
            app = self._verifier.verify_access_token_call(
                message, parameters, find_secrets=lambda app: self._token_secrets(app, request)
            )
        except InvalidSignature:
            if token and request is None:  # the secret of an expired token is gone; say so
                raise RequestTokenNotFound from None
            raise
        if app.suspended:
            raise AppSuspended
        if not token:
            raise RequestTokenMissing
        if request is None or request.app_id != app.id:
            raise RequestTokenNotFound
        self._check_verifier(request, parameters.protocol.get("oauth_verifier", ""))
        account = request.account_id and self._registry.accounts.read_account(request.account_id)
        if not account:
            raise RequestTokenNotFound
        new = draw_access_token(self._keyring, Granted(app.id, account.id, request.access_level))
        live = self._grants.redeem(request.token, new, now_s=int(self._now_s()))
        if live is None:
            raise RequestTokenNotFound
        return Issued(live.token, self._keyring.decrypt(live.secret), account)

    def _token_secrets(self, app: App | None, request: RequestToken | None) -> list[str | None]:
        """The token secrets that a call to oauth/access_token may be signed with (api.md 4.6).

        The request token's secret must sign, because token and verifier appear in URLs and every
        copy of an app contains the consumer secret. `lenient` also accepts no token secret, and
        that of the app owner's access token. None stands for the secret of a missing token.
        """
        secret = self._keyring.decrypt(request.secret) if request else None
        if not self._lenient:
            return [secret]
        owners = app and self._grants.read_access_token(app_id=app.id, account_id=app.owner_id)
        return [secret, "", self._keyring.decrypt(owners.secret) if owners else None]

    def _check_verifier(self, request: RequestToken, given: str) -> None:
        """Count an attempt, then compare the verifier in constant time.

        Raises:
            RequestTokenNotFound: there were too many attempts, so the token is revoked.
            InvalidVerifier
        """
        if not self._grants.count_attempt(request.token, attempts_max=ATTEMPTS_MAX):
            raise RequestTokenNotFound
        if request.verifier is None:
            raise InvalidVerifier
        expected = self._keyring.decrypt(request.verifier)
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise InvalidVerifier

    def invalidate_token(self, message: Message) -> str:
        """Answer oauth/invalidate_token: revoke the access token that signs the call; return it.

        Raises:
            AuthenticationError: one of its leaves says which check failed.
        """
        verified = self._verifier.verify_call(message, user=True)
        assert verified.user is not None
        token = verified.user.token
        self._grants.revoke_access_token(app_id=token.app_id, account_id=token.account_id)
        return token.token
