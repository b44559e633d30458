"""The flow of three legs: an app asks, a person consents, the app gets an access token.

api.md 4.4 to 4.7. The first leg and the third are an app's signed calls; the second is a page
(`portal.consent`). Whatever a call changes, it changes after its signature was found good and its
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
    DesktopAppsOnlyPin,
    InvalidSignature,
    InvalidVerifier,
    RequestTokenMissing,
    RequestTokenNotFound,
)
from openengagement.http.message import Message
from openengagement.registry.accounts import Account
from openengagement.registry.apps import App
from openengagement.registry.grants import OOB, RequestToken
from openengagement.registry.registry import Registry

REQUEST_TOKEN_S: Final = 15 * 60
ATTEMPTS_MAX: Final = 5  # of 10 million PINs


@dataclass(frozen=True, slots=True)
class Pending:
    """A request token that awaits a person's decision, and the app it is for."""

    app: App
    owner: Account
    request: RequestToken


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token, whose it is, and its secret in the clear."""

    token: str
    secret: str
    account: Account


class ThreeLeggedFlow:
    """The three legs over the registry."""

    def __init__(
        self,
        verifier: OAuthVerifier,
        registry: Registry,
        *,
        keyring: Keyring,
        now_s: Callable[[], float],
        lenient: bool = False,
    ) -> None:
        """`lenient` takes the looser signatures of the third leg (api.md 4.6)."""
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
        """The first leg: a request token and its secret.

        Raises:
            AuthenticationError, CallbackNotApproved, RateLimited
        """
        verified = self._verifier.verify_call(message)
        app = verified.consumer.app
        if app.suspended:
            raise AppSuspended
        self._verifier.limit_request_tokens(app)
        callback = self._choose_callback(app, verified.parameter("oauth_callback"))
        level = app.access_level.limited_to(verified.parameter("x_auth_access_type"))
        template = RequestToken("", app.id, b"", callback, level, int(self._now_s()))
        return issue_request_token(
            self._registry, self._keyring, template=template, forget_before_s=self._oldest_s
        )

    def _choose_callback(self, app: App, given: str | None) -> str:
        registered = self._registry.apps.read_callbacks(app.id)
        if not given:  # some clients send none; the first one registered is meant
            return registered[0] if registered else OOB
        if given == OOB or given in registered:
            return given
        raise CallbackNotApproved if registered else DesktopAppsOnlyPin

    def read_pending(self, token: str, *, account_id: int | None = None) -> Pending:
        """A request token that awaits a decision, or that `account_id` has authorized already.

        Raises:
            RequestTokenNotFound: it is dead, somebody else's, or its app is suspended.
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
        """Whether this person has authorized the app to do as much before, and not revoked it."""
        found = self._grants.read_access_token(app_id=pending.app.id, account_id=account_id)
        return found is not None and found.access_level.covers(pending.request.access_level)

    def authorize(self, pending: Pending, account_id: int) -> str:
        """The second leg, granted: where to send the person, or the PIN to show.

        Granted again by the same person, as a double click does, it ends at the same place.

        Raises:
            RequestTokenNotFound: somebody else decided meanwhile.
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
        """The second leg, denied: where the person may go back to. The request token dies."""
        request = pending.request
        self._grants.drop_request_token(request.token)
        if request.callback == OOB:
            return None
        return with_query(request.callback, denied=request.token)

    def access_token(self, message: Message) -> Issued:
        """The third leg: an authorized request token for an access token.

        Raises:
            AuthenticationError: one of its leaves says what is wrong.
        """
        parameters = self._verifier.parse(message)
        token = parameters.token
        request = self._grants.find_request_token(token, oldest_s=self._oldest_s) if token else None
        try:
            app = self._verifier.verify_access_token_call(
                message, parameters, find_secrets=lambda app: self._token_secrets(app, request)
            )
        except InvalidSignature:
            if token and request is None:  # its secret is gone with it; a client should know why
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
        fresh = draw_access_token(self._keyring, Granted(app.id, account.id, request.access_level))
        live = self._grants.redeem(request.token, fresh, now_s=int(self._now_s()))
        if live is None:
            raise RequestTokenNotFound
        return Issued(live.token, self._keyring.decrypt(live.secret), account)

    def _token_secrets(self, app: App | None, request: RequestToken | None) -> list[str | None]:
        """What the third leg may be signed with beside the consumer secret (api.md 4.6).

        The request token's secret alone: request token and verifier stand in an address, and the
        consumer secret in every copy of an app. Leniently also nothing, or the secret of the app
        owner's own access token.
        """
        secret = self._keyring.decrypt(request.secret) if request else None
        if not self._lenient:
            return [secret]
        owners = app and self._grants.read_access_token(app_id=app.id, account_id=app.owner_id)
        return [secret, "", self._keyring.decrypt(owners.secret) if owners else None]

    def _check_verifier(self, request: RequestToken, given: str) -> None:
        """Compare a verifier; the attempt counts before it is looked at.

        Raises:
            RequestTokenNotFound: there were too many attempts; it is dead.
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
        """Kill the access token that signs the call, and name it.

        Raises:
            AuthenticationError
        """
        verified = self._verifier.verify_call(message, user=True)
        assert verified.user is not None
        token = verified.user.token
        self._grants.revoke_access_token(app_id=token.app_id, account_id=token.account_id)
        return token.token
