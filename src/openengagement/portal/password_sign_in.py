"""Sign in with a screen name and a password."""

import asyncio
from concurrent.futures import Executor
from contextlib import nullcontext
from functools import partial
from typing import Final

from starlette.responses import Response

from openengagement.http.threads import run_in_pool
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.concurrency import SIGN_IN_BUSY, ConcurrencyLimit, client_networks
from openengagement.portal.page_request import PageRequest
from openengagement.portal.sign_in import SignIn, local_path
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.passwords import Guess, Passwords, TooManyGuesses
from openengagement.telemetry import WARNING, log_event

_WRONG: Final = gettext_noop(
    "This screen name and password do not match. Check both and try again."
)
_NO_PASSWORDS: Final = gettext_noop(
    "This server accepts no passwords. Sign in through the provider."
)
# How many sign-ins may be under way in a worker, including those that wait for a thread.
_STRANGERS_MAX: Final = 32
_KNOWN_MAX: Final = 16
_PER_NETWORK_MAX: Final = (4, 8, 16)  # the narrowest network first


class PasswordSignIn:
    """The handler of `POST /sign-in`.

    Argon2id runs in `slow_pool`, so that many guesses do not slow other pages down. At most
    `strangers_threads` of its threads verify guesses from unknown browsers. Browsers that
    signed in to the account before have places and a thread of their own, so that strangers cannot
    keep them out.
    """

    def __init__(
        self,
        sign_in: SignIn,
        passwords: Passwords,
        *,
        pool: Executor,
        slow_pool: Executor,
        strangers_threads: int,
    ) -> None:
        self._sign_in = sign_in
        self._passwords = passwords
        self._pool = pool
        self._slow_pool = slow_pool
        self._strangers_threads = asyncio.Semaphore(strangers_threads)
        self._strangers = ConcurrencyLimit(
            _STRANGERS_MAX, SIGN_IN_BUSY, most_per_network=_PER_NETWORK_MAX
        )
        self._known = ConcurrencyLimit(_KNOWN_MAX, SIGN_IN_BUSY, most_per_network=_PER_NETWORK_MAX)

    async def submit(self, request: PageRequest) -> Response:
        """`POST /sign-in`.

        Raises:
            Busy: too many sign-ins are under way.
        """
        if faults := _find_faults(request):
            show = partial(self._sign_in.show_form, error=faults, status=400)
            return await run_in_pool(self._pool, show, request, request.fields)
        guess = await run_in_pool(self._pool, self._guess, request)
        places = self._strangers if guess.browser is None else self._known
        async with places.hold(guess.networks):
            refused = await run_in_pool(self._pool, self._limit_guesses, request, guess)
            if refused is not None:
                return refused
            async with self._strangers_threads if guess.browser is None else nullcontext():
                return await run_in_pool(self._slow_pool, self._verify, request, guess)

    def _limit_guesses(self, request: PageRequest, guess: Guess) -> Response | None:
        """Count a guess before its password is verified; refuse it if there were too many."""
        if not self._sign_in.methods.password:
            return self._refuse(request, _(_NO_PASSWORDS), status=403)
        try:
            self._passwords.limit_guesses(guess)
        except TooManyGuesses as error:
            log_event("sign_in_refused", level=WARNING, reason="too_many_attempts")
            SIGN_INS.add(1, "password", "too_many_attempts")
            text = _(
                "There were too many attempts. Try again in %(minutes)s min, or use a browser that "
                "you have signed in with before.",
                minutes=-(-error.retry_after_s // 60),
            )
            response = self._refuse(request, text, status=429)
            response.headers["retry-after"] = str(error.retry_after_s)
            return response
        return None

    def _verify(self, request: PageRequest, guess: Guess) -> Response:
        verified = self._passwords.verify(guess, request.fields.get("password", ""))
        if verified is None:
            log_event("sign_in_refused", level=WARNING, reason="wrong_name_or_password")
            SIGN_INS.add(1, "password", "wrong_name_or_password")
            return self._refuse(request, _(_WRONG), status=403)
        return_to = local_path(request.fields.get("return_to", ""))
        try:
            return self._sign_in.complete(
                request,
                verified.account,
                return_to=return_to,
                password_hash=verified.password_hash,
            )
        except PasswordChanged:
            return self._refuse(request, _(_WRONG), status=403)

    def _guess(self, request: PageRequest) -> Guess:
        screen_name = request.fields.get("screen_name", "").strip().removeprefix("@")
        known = self._sign_in.sessions.known_browser(request, screen_name)
        return Guess(screen_name, client_networks(request.address), known)

    def _refuse(self, request: PageRequest, text: str, *, status: int) -> Response:
        return self._sign_in.show_form(request, request.fields, error=text, status=status)


def _find_faults(request: PageRequest) -> dict[str, str]:
    """Map the empty fields to what to write. An empty field is no guess."""
    given = request.fields
    texts = {"screen_name": _("Write your screen name."), "password": _("Write your password.")}
    return {name: text for name, text in texts.items() if not given.get(name, "").strip()}
