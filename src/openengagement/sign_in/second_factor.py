"""A second factor for sign-in with a password: the codes of an authenticator app (TOTP, RFC 6238).

The secret is encrypted in the registry. A code is accepted once, for its time step of 30 s and the
steps before and after it. Recovery codes have 80 random bits, are stored as SHA-256 digests, and
work once.
"""

import hmac
import os
from base64 import b32decode, b32encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from openengagement.auth.credentials import hash_token
from openengagement.auth.keyring import Keyring
from openengagement.limits.contract import Limits
from openengagement.registry.audit import Actor
from openengagement.registry.registry import Registry
from openengagement.registry.second_factors import ProvenSecret
from openengagement.sign_in.passwords import TooManyGuesses

STEP_S: Final = 30
DIGITS: Final = 6
RECOVERY_CODES: Final = 10
# With three valid codes at a time, these limits allow one success in 10,000 for guessing a day.
GUESSES: Final = {15 * 60: 5, 24 * 3600: 30}
_OFFSETS: Final = (0, -1, 1)  # steps, because clocks differ and people type slowly
_GROUP: Final = 4


@dataclass(frozen=True, slots=True)
class Proposal:
    """A new secret, as text to type and as a URI for a QR code."""

    secret: str
    uri: str


class SecondFactors:
    """Turns second factors on and off, and verifies codes. `issuer` names the platform in apps."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        *,
        limits: Limits,
        issuer: str,
        now_s: Callable[[], float],
    ) -> None:
        self._factors = registry.second_factors
        self._keyring = keyring
        self._limits = limits
        self._issuer = issuer
        self._now_s = now_s

    def is_on(self, account_id: int) -> bool:
        """Tell whether the account signs in with a second factor."""
        factor = self._factors.read(account_id)
        return factor is not None and factor.confirmed_at_s is not None

    def count_codes(self, account_id: int) -> int:
        """Count the recovery codes that were not used."""
        return self._factors.count_codes(account_id)

    def describe(self, secret: str, screen_name: str) -> Proposal:
        """Describe a new secret of `draw_secret` for the person's app."""
        uri = _totp(secret).get_provisioning_uri(screen_name, self._issuer)
        # Some apps show a plus instead of the space that it stands for.
        return Proposal(_grouped(secret), uri.replace("+", "%20"))

    def confirm(self, actor: Actor, secret: str, *, code: str, session_id: str) -> list[str] | None:
        """Turn the second factor on if the app shows this code. Return the recovery codes.

        Every other session of the account ends. None if the code is wrong, or if the account has a
        second factor already.

        Raises:
            TooManyGuesses
        """
        account_id = _account(actor)
        self._limit(account_id)
        step = self._find_step(secret, code)
        if step is None:
            return None
        codes = [_grouped(b32encode(os.urandom(10)).decode()) for _ in range(RECOVERY_CODES)]
        confirmed = self._factors.confirm(
            actor,
            ProvenSecret(self._keyring.encrypt(secret), step),
            code_hashes=[_hash_code(each) for each in codes],
            session_id=session_id,
            now_s=int(self._now_s()),
        )
        self._unlimit(account_id)
        return codes if confirmed else None

    def verify(self, account_id: int, code: str) -> bool:
        """Accept a code of the app or a recovery code, each of them once.

        Raises:
            TooManyGuesses
        """
        self._limit(account_id)
        accepted = self._accept(account_id, code)
        if accepted:
            self._unlimit(account_id)
        return accepted

    def remove(self, account_id: int, *, actor: Actor) -> bool:
        """Turn the second factor off. False if there was none."""
        return self._factors.remove(account_id, actor=actor, now_s=int(self._now_s()))

    def _accept(self, account_id: int, code: str) -> bool:
        factor = self._factors.read(account_id)
        if factor is None or factor.confirmed_at_s is None:
            return False
        step = self._find_step(self._keyring.decrypt(factor.secret), code)
        if step is not None:
            return self._factors.use_step(account_id, step)
        return self._factors.use_code(account_id, _hash_code(code), now_s=int(self._now_s()))

    def _find_step(self, secret: str, code: str) -> int | None:
        """Return the time step of a code of the app, None if it is none of these."""
        given = "".join(code.split())
        if len(given) != DIGITS or not (given.isascii() and given.isdigit()):
            return None
        totp, now = _totp(secret), int(self._now_s()) // STEP_S
        for offset in _OFFSETS:
            expected = totp.generate((now + offset) * STEP_S)
            if hmac.compare_digest(expected, given.encode()):
                return now + offset
        return None

    def _limit(self, account_id: int) -> None:
        now_s = self._now_s()
        windows = self._limits.count(_subject(account_id), GUESSES, now_s=now_s)
        ends = [window.reset_s for window in windows if window.exceeded]
        if ends:
            raise TooManyGuesses(max(1, int(max(ends) - now_s)))

    def _unlimit(self, account_id: int) -> None:
        for length_s in GUESSES:
            self._limits.uncount(_subject(account_id), length_s, now_s=self._now_s())


def draw_secret() -> str:
    """Return a new secret of 160 random bits for an authenticator app."""
    return b32encode(os.urandom(20)).decode()


def _totp(secret: str) -> TOTP:
    return TOTP(b32decode(secret), DIGITS, SHA1(), STEP_S)  # noqa: S303 - RFC 6238, and what apps do


def _account(actor: Actor) -> int:
    assert actor.account_id is not None, "only accounts have second factors"
    return actor.account_id


def _subject(account_id: int) -> bytes:
    return f"second factor:{account_id}".encode()


def _grouped(text: str) -> str:
    return " ".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))


def _hash_code(code: str) -> bytes:
    """Hash a recovery code. Spaces, hyphens and the case of letters do not matter."""
    return hash_token("".join(code.replace("-", " ").split()).upper())
