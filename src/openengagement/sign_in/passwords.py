"""Signing in with a password: Argon2id, and how often somebody may guess.

Guesses are counted before they are looked at, in windows that all workers share:

* at one account from one address, so that guessing ends soon;
* from one address at any account, so that trying a common password everywhere ends soon;
* at one account from anywhere, so that many addresses do not help.

The last would let a stranger lock a person out, and the first two whoever shares an address. A
browser that has signed in to the account before shows a cookie that says so, and is counted by
itself. A sign-in that succeeds gives its counts back.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from openengagement.limits.contract import Limits, RateWindow
from openengagement.registry.registry import Account, Registry

PASSWORD_LENGTH_MIN: Final = 8
PASSWORD_LENGTH_MAX: Final = 1024
WINDOW_S: Final = 15 * 60
PER_ACCOUNT_AND_ADDRESS: Final = 10
PER_ADDRESS: Final = 50
PER_ACCOUNT: Final = 100
PER_BROWSER: Final = 10
PER_KNOWN: Final = 50

_HASHER: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


class TooManyGuesses(Exception):
    """Guessing goes on in `retry_after_s` seconds at the earliest."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class UnfitPassword(ValueError):
    """A password that may not be set; the text says why."""


def hash_password(password: str) -> str:
    """The Argon2id hash of a new password.

    Raises:
        UnfitPassword
    """
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise UnfitPassword(
            f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        )
    return _HASHER.hash(password)


@dataclass(frozen=True, slots=True)
class Guess:
    """Who is said to sign in, from which network, at which browser that did so before, if any."""

    screen_name: str
    address: str
    browser: str | None

    @property
    def subjects(self) -> dict[bytes, int]:
        return _subjects(self.screen_name.casefold()[:200], self.address, browser=self.browser)


class Passwords:
    """Counts guesses and verifies passwords."""

    def __init__(self, registry: Registry, limits: Limits, *, now_s: Callable[[], float]) -> None:
        self._registry = registry
        self._limits = limits
        self._now_s = now_s

    def count_guess(self, guess: Guess) -> None:
        """Count a guess before it may wait for its turn to be looked at.

        Raises:
            TooManyGuesses
        """
        now_s = self._now_s()
        for subject, limit in guess.subjects.items():
            _refuse_exceeded(self._limits.count(subject, {WINDOW_S: limit}, now_s=now_s)[0], now_s)

    def verify(self, guess: Guess, password: str) -> Account | None:
        """The account whose name and password these are, or None. As slow as Argon2id."""
        account = self._registry.find_account(guess.screen_name)
        stored = self._registry.sessions.password_hash(account.id) if account else None
        good = _matches(stored or _nobodys_hash(), password)
        if account is None or stored is None or not good:
            return None
        # Changed while we looked: whoever knew the old one must not slip in behind the change.
        if self._registry.sessions.password_hash(account.id) != stored:
            return None
        now_s = self._now_s()
        for subject in guess.subjects:
            self._limits.uncount(subject, WINDOW_S, now_s=now_s)
        if _HASHER.check_needs_rehash(stored):
            self._registry.sessions.rehash_password(
                account.id, old=stored, new=_HASHER.hash(password)
            )
        return account


def _subjects(name: str, address: str, *, browser: str | None) -> dict[bytes, int]:
    """What a guess counts for, in this order, and how many it may be in a window.

    The narrowest comes first: a guess that it refuses is not counted for the others, or one
    stranger who goes on asking would use up an account's guesses for everybody.
    """
    if browser is not None:
        return {
            _subject("browser", name, browser): PER_BROWSER,
            _subject("known", name): PER_KNOWN,
        }
    return {
        _subject("both", name, address): PER_ACCOUNT_AND_ADDRESS,
        _subject("address", address): PER_ADDRESS,
        _subject("account", name): PER_ACCOUNT,
    }


def _subject(*parts: str) -> bytes:
    text = "".join(f"{len(part)}:{part}" for part in ("guess", *parts))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def _refuse_exceeded(window: RateWindow, now_s: float) -> None:
    if window.exceeded:
        raise TooManyGuesses(max(1, int(window.reset_s - now_s)))


def _matches(stored: str, password: str) -> bool:
    if len(password) > PASSWORD_LENGTH_MAX:
        password = ""  # as long a wait as any other wrong one
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    """Verified where there is no account or no password, so that the time does not tell."""
    return _HASHER.hash("nobody's password")
