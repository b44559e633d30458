"""Signing in through the platform's OpenID Connect provider, and whose account that opens.

What one sign-in must remember between leaving for the provider and coming back travels in a cookie
that only this server can read, so no worker keeps anything. It is good for one browser, ten minutes
and one answer.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from openengagement.auth.credentials import KeyFileError, Keyring, draw_cookie
from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.registry.registry import Account, Registry
from openengagement.sign_in.id_token import LEEWAY_S
from openengagement.sign_in.provider import Errand, Provider, ProviderWrong

ATTEMPT_S: Final = 600
# What a provider may answer (RFC 6749, 4.1.2.1; Core, 3.1.2.6). Other words stay out of the log.
_ERRORS: Final = frozenset(
    {"access_denied", "invalid_request", "invalid_scope", "unauthorized_client", "server_error"}
    | {"unsupported_response_type", "temporarily_unavailable", "login_required"}
    | {"interaction_required", "consent_required", "account_selection_required"}
)


class Attempt(msgspec.Struct, frozen=True, tag="openid"):
    """One sign-in on its way. `anew`: the person must prove once more who they are."""

    state: str
    nonce: str
    verifier: str
    return_to: str
    anew: bool
    began_s: int


@dataclass(frozen=True, slots=True)
class Departure:
    """Where the browser goes now, and what its cookie keeps until it is back."""

    url: str
    cookie: str


class Denied(Exception):
    """The provider says that the person was not signed in there; the text is fit for a log."""


class Unrecognised(Exception):
    """The browser is back from no attempt of its own that is still good; the text fits a log."""


class Unanswerable(Exception):
    """What came back does not belong to this attempt; the text is fit for a log."""


class OpenId:
    """Begins sign-ins and ends them. `claim` names what tells the account."""

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
        self._keyring = keyring
        self._claim = claim
        self._now_s = now_s

    async def depart(self, return_to: str, *, redirect_uri: str, anew: bool) -> Departure:
        """Begin a sign-in.

        Raises:
            ProviderSilent, ProviderWrong
        """
        state, nonce, verifier = draw_cookie(), draw_cookie(), draw_cookie()
        attempt = Attempt(state, nonce, verifier, return_to, anew, int(self._now_s()))
        errand = Errand(state, nonce, verifier, redirect_uri)
        url = await self._provider.authorization_url(errand, anew=anew)
        sealed = self._keyring.encrypt(msgspec.json.encode(attempt).decode())
        return Departure(url, sealed.decode().rstrip("="))

    def recognise(self, cookie: str, state: str) -> Attempt:
        """The attempt that this browser began and this state is the answer to, while it is young.

        Raises:
            Unrecognised
        """
        if not cookie:
            raise Unrecognised("cookie_missing")
        try:
            padding = "=" * (-len(cookie) % 4)
            text = self._keyring.decrypt(f"{cookie}{padding}".encode())
            attempt = msgspec.json.decode(text, type=Attempt)
        except (KeyFileError, msgspec.DecodeError, UnicodeError):
            raise Unrecognised("cookie_unreadable") from None
        if not hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace")):
            raise Unrecognised("state_different")
        age_s = int(self._now_s()) - attempt.began_s
        if age_s > ATTEMPT_S:
            raise Unrecognised(f"too_old {age_s} s")
        if age_s < -LEEWAY_S:  # the clock was put back, or another server's differs
            raise Unrecognised(f"too_young {age_s} s")
        return attempt

    async def arrive(
        self, attempt: Attempt, answer: Mapping[str, str], *, redirect_uri: str
    ) -> dict[str, Any]:
        """What the provider says of the person, once the browser is back with its answer.

        Raises:
            Unanswerable, Denied, CodeRefused, ProviderSilent, ProviderWrong
        """
        if not await self._provider.is_sender(answer.get("iss")):
            raise Unanswerable("issuer_different")
        if error := answer.get("error"):
            raise Denied(error if error in _ERRORS else "other")
        if not answer.get("code"):
            raise Unanswerable("code_missing")
        errand = Errand(attempt.state, attempt.nonce, attempt.verifier, redirect_uri)
        claims = await self._provider.redeem(answer["code"], errand, claim=self._claim)
        proven_s = claims.get("auth_time", attempt.began_s)
        if attempt.anew and not _is_after(proven_s, attempt.began_s - LEEWAY_S):
            raise ProviderWrong("auth_time")
        return claims

    def find_account(self, claims: Mapping[str, Any]) -> Account | None:
        """The account that the claims name: `sub` by its ID, any other claim by screen name."""
        value = claims.get(self._claim)
        if not isinstance(value, str) or not value.isprintable():
            return None
        if self._claim == "sub":
            number = None if value.startswith("0") else parse_decimal(value, maximum=ID_MAX)
            return self._registry.read_account(number) if number else None
        account = self._registry.find_account(value)
        if account is None or account.screen_name == value:
            return account
        # Outside ASCII several letters fold to one, and would let two people into one account.
        return account if (account.screen_name + value).isascii() else None


def _is_after(given: object, time_s: float) -> bool:
    return isinstance(given, int | float) and given >= time_s
