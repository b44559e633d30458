"""The second step of a sign-in with a password: a code of the account's second factor.

Between the two steps, an encrypted cookie says whose password was proven. It does not sign anyone
in, and it is valid for STEP_LIFETIME_S.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec
from starlette.responses import Response

from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import redirect
from openengagement.registry.accounts import Account
from openengagement.registry.registry import Registry
from openengagement.sign_in.second_factor import SecondFactors

CODE_PATH: Final = "/sign-in/code"
STEP_LIFETIME_S: Final = 600
_COOKIE: Final = "step"


class FirstStep(msgspec.Struct, frozen=True, tag="step"):
    """A password that was proven. `password` is a digest of its hash."""

    account_id: int
    password: str
    return_to: str
    at_s: int


class SecondStep:
    """Begins the second step, and finds the first one again."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        *,
        factors: SecondFactors,
        now_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._sealed = Sealed(keyring, FirstStep)
        self.factors = factors
        self._now_s = now_s

    def is_needed(self, account_id: int) -> bool:
        """Tell whether the account signs in with a second factor."""
        return self.factors.is_on(account_id)

    def begin(
        self, request: PageRequest, account_id: int, *, return_to: str, password_hash: str
    ) -> Response:
        """Remember the first step in this browser, and ask for a code."""
        step = FirstStep(account_id, _digest(password_hash), return_to, int(self._now_s()))
        request.set_cookies[_COOKIE] = (self._sealed.seal(step), STEP_LIFETIME_S)
        return redirect(CODE_PATH)

    def read(self, request: PageRequest) -> tuple[FirstStep, Account, str] | None:
        """Return the first step, its account and the hash of the password that was proven.

        None if there is no first step, if it is too old, or if the password changed.
        """
        cookie = request.cookie(_COOKIE)
        step = self._sealed.open(cookie) if cookie else None
        if step is None or self._now_s() - step.at_s > STEP_LIFETIME_S:
            return None
        account = self._registry.accounts.read_account(step.account_id)
        stored = self._registry.password_hashes.read_password_hash(step.account_id)
        if account is None or stored is None or _digest(stored) != step.password:
            return None
        return step, account, stored

    def end(self, request: PageRequest) -> None:
        """Forget the first step in this browser."""
        request.set_cookies[_COOKIE] = ("", 0)


def _digest(password_hash: str) -> str:
    return hashlib.sha256(password_hash.encode()).hexdigest()
