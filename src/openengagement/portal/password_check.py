"""Verify and hash passwords within limits on how many are under way."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import nullcontext
from typing import Final, TypeVar, TypeVarTuple

from openengagement.http.threads import run_in_pool
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.concurrency import SIGN_IN_BUSY, ConcurrencyLimit, client_networks
from openengagement.portal.page_request import PageRequest
from openengagement.sign_in.passwords import Guess, Passwords, Verified, hash_password

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

# How many verifications may be under way in a worker, including those that wait for a thread.
_STRANGERS_MAX: Final = 32
_KNOWN_MAX: Final = 16
_PER_NETWORK_MAX: Final = (4, 8, 16)  # the narrowest network first


class PasswordCheck:
    """Verifies passwords that people type.

    Argon2id runs in `slow_pool`, so that many guesses do not slow other pages down. At most
    `strangers_threads` of its threads verify guesses from unknown browsers. Browsers that
    signed in to the account before have places and a thread of their own, so that strangers cannot
    keep them out.
    """

    def __init__(
        self,
        sessions: BrowserSessions,
        passwords: Passwords,
        *,
        pool: Executor,
        slow_pool: Executor,
        strangers_threads: int,
    ) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._pool = pool
        self._slow_pool = slow_pool
        self._strangers_threads = asyncio.Semaphore(strangers_threads)
        self._strangers = ConcurrencyLimit(
            _STRANGERS_MAX, SIGN_IN_BUSY, most_per_network=_PER_NETWORK_MAX
        )
        self._known = ConcurrencyLimit(_KNOWN_MAX, SIGN_IN_BUSY, most_per_network=_PER_NETWORK_MAX)

    async def run(self, work: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Run other work of a page in a thread."""
        return await run_in_pool(self._pool, work, *arguments)

    async def verify(
        self, request: PageRequest, screen_name: str, *, password: str
    ) -> Verified | None:
        """Return the account if name and password belong together, else None.

        Raises:
            TooManyGuesses: the password was not verified.
            Busy: too many verifications are under way.
        """
        guess = await run_in_pool(self._pool, self._guess, request, screen_name)
        places = self._strangers if guess.browser is None else self._known
        async with places.hold(guess.networks):
            await run_in_pool(self._pool, self._passwords.limit_guesses, guess)
            async with self._strangers_threads if guess.browser is None else nullcontext():
                return await run_in_pool(self._slow_pool, self._passwords.verify, guess, password)

    async def hash(self, request: PageRequest, password: str) -> str:
        """Hash a new password, of a person who has proven who they are.

        Raises:
            UnfitPassword: it breaks a rule.
            Busy: too many verifications are under way.
        """
        async with self._known.hold(client_networks(request.address)):
            return await run_in_pool(self._slow_pool, hash_password, password)

    def _guess(self, request: PageRequest, screen_name: str) -> Guess:
        known = self._sessions.known_browser(request, screen_name)
        return Guess(screen_name, client_networks(request.address), known)
