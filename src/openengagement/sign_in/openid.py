"""The relying party of OpenID Connect: people sign in through the platform's provider.

The state of a sign-in travels in an encrypted cookie while the browser is at the provider, so no
worker stores it. The cookie is good for one browser, ATTEMPT_S seconds and one answer.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from openengagement.auth.credentials import draw_cookie
from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.engagement.types import parse_id
from openengagement.registry.accounts import Account
from openengagement.registry.registry import Registry
from openengagement.sign_in.id_token import LEEWAY_S
from openengagement.sign_in.provider import AuthorizationRequest, InvalidProviderAnswer, Provider

ATTEMPT_S: Final = 600
# The errors of RFC 6749, 4.1.2.1, and Core, 3.1.2.6. No other text reaches the log.
_ERRORS: Final = frozenset(
    {"access_denied", "invalid_request", "invalid_scope", "unauthorized_client", "server_error"}
    | {"unsupported_response_type", "temporarily_unavailable", "login_required"}
    | {"interaction_required", "consent_required", "account_selection_required"}
)


class Attempt(msgspec.Struct, frozen=True, tag="openid"):
    """A sign-in that was started. With `reauthenticate`, an existing session is not enough."""

    state: str
    nonce: str
    code_verifier: str
    return_to: str
    reauthenticate: bool
    started_s: int

    def to_request(self, redirect_uri: str) -> AuthorizationRequest:
        """The authorization request of this sign-in."""
        return AuthorizationRequest(
            self.state, self.nonce, self.code_verifier, redirect_uri, self.reauthenticate
        )


@dataclass(frozen=True, slots=True)
class Started:
    """The URL to send the browser to, and the cookie that it must bring back."""

    url: str
    cookie: str


class SignInDenied(Exception):
    """The provider did not sign the person in. The text may be logged."""


class AttemptRefused(Exception):
    """The browser's cookie holds no valid attempt of its own. The text may be logged."""


class AnswerRefused(Exception):
    """The answer does not belong to this attempt. The text may be logged."""


class RelyingParty:
    """Starts and finishes sign-ins. `claim` names the claim that identifies the account."""

    def __init__(
        self,
        provider: Provider,
        registry: Registry,
        *,
        keyring: Keyring,
        claim: str,
        now_s: Callable[[], float],
    ) -> None:
        self._provider = provider
        self._registry = registry
        self._sealed = Sealed(keyring, Attempt)
        self._claim = claim
        self._now_s = now_s

    async def start(self, return_to: str, *, redirect_uri: str, reauthenticate: bool) -> Started:
        """Start a sign-in that ends at `return_to`; the provider answers to `redirect_uri`.

        Raises:
            ProviderUnavailable, InvalidProviderAnswer
        """
        secrets = draw_cookie(), draw_cookie(), draw_cookie()
        attempt = Attempt(*secrets, return_to, reauthenticate, int(self._now_s()))
        url = await self._provider.authorization_url(attempt.to_request(redirect_uri))
        return Started(url, self._sealed.seal(attempt))

    def open_attempt(self, cookie: str, state: str) -> Attempt:
        """The attempt in a browser's cookie, if the provider's answer has its state.

        Raises:
            AttemptRefused: the cookie is missing, unreadable or too old, or `state` differs.
        """
        if not cookie:
            raise AttemptRefused("cookie_missing")
        attempt = self._sealed.open(cookie)
        if attempt is None:
            raise AttemptRefused("cookie_unreadable")
        if not hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace")):
            raise AttemptRefused("state_different")
        age_s = int(self._now_s()) - attempt.started_s
        if age_s > ATTEMPT_S:
            raise AttemptRefused(f"too_old {age_s} s")
        if age_s < -LEEWAY_S:  # the clock was put back, or another server's clock differs
            raise AttemptRefused(f"too_young {age_s} s")
        return attempt

    async def finish(
        self, attempt: Attempt, answer: Mapping[str, str], *, redirect_uri: str
    ) -> dict[str, Any]:
        """Verify the provider's answer; return the claims about the person.

        `answer` is the query of the callback, `redirect_uri` the one that `start` was given.

        Raises:
            AnswerRefused, SignInDenied, CodeRefused, ProviderUnavailable, InvalidProviderAnswer
        """
        if not await self._provider.is_issuer(answer.get("iss")):
            raise AnswerRefused("issuer_different")
        if error := answer.get("error"):
            raise SignInDenied(error if error in _ERRORS else "other")
        if not answer.get("code"):
            raise AnswerRefused("code_missing")
        request = attempt.to_request(redirect_uri)
        claims = await self._provider.redeem_code(answer["code"], request, claim=self._claim)
        authenticated_s = claims.get("auth_time", attempt.started_s)
        if attempt.reauthenticate and not _is_after(authenticated_s, attempt.started_s - LEEWAY_S):
            raise InvalidProviderAnswer("auth_time")
        return claims

    def find_account(self, claims: Mapping[str, Any]) -> Account | None:
        """The account that the claims name: `sub` by account ID, any other by screen name."""
        value = claims.get(self._claim)
        if not isinstance(value, str) or not value.isprintable():
            return None
        if self._claim == "sub":
            return self._find_by_id(value)
        account = self._registry.accounts.find_account(value)
        if account is None or account.screen_name == value:
            return account
        # Screen names match in any case. Outside ASCII, several letters fold to the same one, so
        # two people of the provider could sign in to one account.
        return account if (account.screen_name + value).isascii() else None

    def _find_by_id(self, text: str) -> Account | None:
        try:
            account_id = parse_id(text)
        except ValueError:
            return None
        # Only one spelling is an account: the provider may treat 7 and 07 as two people.
        return self._registry.accounts.read_account(account_id) if str(account_id) == text else None


def _is_after(given: object, time_s: float) -> bool:
    return isinstance(given, int | float) and given >= time_s
