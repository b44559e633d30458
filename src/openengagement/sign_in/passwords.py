"""Sign-in with a password: Argon2id hashes, and limits on guesses.

A guess is counted before it is verified, in windows of WINDOW_S seconds that all workers share:

* per account and narrowest network, against guessing one account's password;
* per network, against trying a common password on many accounts: an IPv4 address, or the /64, /56
  and /48 of an IPv6 address;
* per account, against guessing from many networks.

These limits let a stranger, or another person behind the same address, lock an account out.
Therefore a browser that signed in to the account before proves that with a cookie, and its guesses
are counted separately. A successful sign-in takes its counts back.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from openengagement.limits.contract import Limits
from openengagement.registry.accounts import Account
from openengagement.registry.registry import Registry

PASSWORD_LENGTH_MIN: Final = 8
PASSWORD_LENGTH_MAX: Final = 1024
WINDOW_S: Final = 15 * 60
PER_ACCOUNT_AND_NETWORK: Final = 10
PER_NETWORK: Final = (50, 100, 200)  # the narrowest network first
PER_ACCOUNT: Final = 100
PER_KNOWN_BROWSER: Final = 10
PER_ACCOUNT_FROM_KNOWN_BROWSERS: Final = 50

_HASHER: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
# Stands in for the hash of a missing account or password, so that response times do not reveal it.
# It has the cost of a real hash. Its salt and digest are zeros, which nobody's password gives.
_STAND_IN_HASH: Final = (
    f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    f"${'A' * 22}${'A' * 43}"
)


class TooManyGuesses(Exception):
    """A limit on guesses is exceeded. The next guess is allowed in `retry_after_s` seconds."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class UnfitPassword(ValueError):
    """The password breaks a rule; the text says which one."""


def hash_password(password: str) -> str:
    """Hash a new password with Argon2id, which takes about 0.2 s of CPU and 64 MiB.

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
    """An attempt to sign in: the name given, and the networks it comes from, the narrowest first.

    `browser` identifies a browser that proved an earlier sign-in to this account; otherwise None.
    """

    screen_name: str
    networks: tuple[str, ...]
    browser: str | None

    @property
    def subjects(self) -> dict[bytes, int]:
        """The subjects that this guess counts for, in this order, and their limits in a window.

        The narrowest comes first. A guess that it refuses is not counted for the wider ones.
        Otherwise a stranger who keeps guessing would use up the account's guesses everywhere.
        """
        name = self.screen_name.casefold()[:200]
        if self.browser is not None:
            return {
                _subject("browser", name, self.browser): PER_KNOWN_BROWSER,
                _subject("known", name): PER_ACCOUNT_FROM_KNOWN_BROWSERS,
            }
        limits = zip(self.networks, PER_NETWORK, strict=False)
        return {
            _subject("both", name, self.networks[0]): PER_ACCOUNT_AND_NETWORK,
            **{_subject("address", network): most for network, most in limits},
            _subject("account", name): PER_ACCOUNT,
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """An account whose password was proven, and the hash of this password."""

    account: Account
    password_hash: str


class Passwords:
    """Limits guesses and verifies passwords."""

    def __init__(self, registry: Registry, limits: Limits, *, now_s: Callable[[], float]) -> None:
        self._registry = registry
        self._limits = limits
        self._now_s = now_s

    def limit_guesses(self, guess: Guess) -> None:
        """Count a guess. Call it before `verify`, also if the guess then waits for a thread.

        Raises:
            TooManyGuesses: do not verify the password.
        """
        now_s = self._now_s()
        for subject, limit in guess.subjects.items():
            (window,) = self._limits.count(subject, {WINDOW_S: limit}, now_s=now_s)
            if window.exceeded:
                raise TooManyGuesses(max(1, int(window.reset_s - now_s)))

    def verify(self, guess: Guess, password: str) -> Verified | None:
        """The account if name and password belong together, else None.

        The password may change at any time, so `Sessions.add_session` checks the hash again.

        Blocks for one Argon2id verification, whether or not the account exists.
        """
        account = self._registry.accounts.find_account(guess.screen_name)
        stored = self._verify_stored(account.id if account else None, password)
        if account is None or stored is None:
            return None
        now_s = self._now_s()
        for subject in guess.subjects:
            self._limits.uncount(subject, WINDOW_S, now_s=now_s)
        return Verified(account, stored)

    def _verify_stored(self, account_id: int | None, password: str) -> str | None:
        """The account's password hash if this is its password, else None.

        Replaces a hash of an older strength. If the hash changes while this runs, it starts again:
        the password may have been changed, or another sign-in may have replaced the hash.
        """
        hashes = self._registry.password_hashes
        stored = None if account_id is None else hashes.read_password_hash(account_id)
        good = _matches(stored or _STAND_IN_HASH, password)
        if account_id is None or stored is None or not good:
            return None
        kept = stored
        if _HASHER.check_needs_rehash(stored):
            kept = _HASHER.hash(password)
            hashes.rehash_password(account_id, old=stored, new=kept)
        if hashes.read_password_hash(account_id) != kept:
            return self._verify_stored(account_id, password)
        return kept


def _subject(*parts: str) -> bytes:
    text = "".join(f"{len(part)}:{part}" for part in ("guess", *parts))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def _matches(stored: str, password: str) -> bool:
    if len(password) > PASSWORD_LENGTH_MAX:
        password = ""  # takes as long to refuse as any other wrong password
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
