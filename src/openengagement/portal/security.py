"""Password and sign-in: change the password, and see how the account signs in."""

from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response

from openengagement.engagement.permissions import Proof
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.manage_views import actor_of
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.password_check import PasswordCheck
from openengagement.portal.password_reset import PasswordReset
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.registry.registry import Registry
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.passwords import (
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    TooManyGuesses,
    UnfitPassword,
)
from openengagement.sign_in.second_factor import SecondFactors

SECURITY_PATH: Final = "/settings/security"
RECOVERY: Final = "recovery codes"  # the subject of `OneTimeSecrets`
WRONG_PASSWORD: Final = "This is not your present password."
UNFIT_PASSWORD: Final = (
    f"Write a password of {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX:,} characters."
)
TOO_MANY_PASSWORDS: Final = "There were too many attempts. Try again in {} min."


class SecurityPage:
    """Handlers of `/settings/security`. `passwords` says whether people sign in with passwords."""

    def __init__(
        self,
        renderer: PageRenderer,
        sessions: BrowserSessions,
        *,
        registry: Registry,
        check: PasswordCheck,
        reset: PasswordReset,
        factors: SecondFactors,
        one_time_secrets: OneTimeSecrets,
        passwords: bool,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._registry = registry
        self._check = check
        self._reset = reset
        self._factors = factors
        self._one_time_secrets = one_time_secrets
        self._passwords = passwords
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /settings/security`."""
        return self.render(request)

    async def change_password(self, request: PageRequest) -> Response:
        """`POST /settings/security/password`.

        Raises:
            Busy: too many passwords are being verified.
        """
        assert request.session is not None, "the page's route demands a sign-in"
        given = request.fields.get("password", "")
        try:
            verified = await self._check.verify(request, request.session.screen_name, given)
            if verified is None or verified.account.id != request.account_id:
                return await self._check.run(self._refuse, request, "password", WRONG_PASSWORD, 403)
            new = await self._check.hash(request, request.fields.get("new_password", ""))
        except TooManyGuesses as error:
            text = TOO_MANY_PASSWORDS.format(-(-error.retry_after_s // 60))
            return await self._check.run(self._refuse, request, "password", text, 429)
        except UnfitPassword:
            return await self._check.run(self._refuse, request, "new_password", UNFIT_PASSWORD, 400)
        old = verified.password_hash
        return await self._check.run(self._change, request, old, new)

    def _change(self, request: PageRequest, old: str, new: str) -> Response:
        """Store the password, and go on in a new session: all sessions have ended."""
        session = request.session
        account = self._registry.accounts.read_account(request.account_id)
        if session is None or account is None:
            return redirect("/sign-in")
        actor = actor_of(session)
        hashes = self._registry.password_hashes
        try:
            hashes.change_password(actor, old=old, new=new, now_s=int(self._now_s()))
            self._sessions.start(
                request, account, request_token="", password_hash=new, proof=session.proof
            )
        except PasswordChanged:
            return redirect("/sign-in")
        self._reset.tell(account.id, account.screen_name)
        return redirect(f"{SECURITY_PATH}?done=password")

    def _refuse(self, request: PageRequest, field: str, text: str, status: int) -> Response:
        return self.render(request, fault=(field, text), status=status)

    def render(
        self, request: PageRequest, *, fault: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        """Show the page; `fault` names a field and says what is wrong with it."""
        account_id = request.account_id
        hashes = self._registry.password_hashes
        has_password = self._passwords and hashes.read_password_hash(account_id) is not None
        is_on = self._factors.is_on(account_id)
        codes = self._one_time_secrets.take(request, RECOVERY).get("codes", "")
        session = request.session
        needed = request.query.get("for") == "manage"
        context: dict[str, Any] = {
            "title": "Password and sign-in",
            "scripts": ("page.js",),
            "has_password": has_password,
            "mail": self._registry.accounts.read_mail(account_id),
            "is_on": is_on,
            "codes": codes.split("\n") if codes else [],
            "codes_left": self._factors.count_codes(account_id) if is_on else 0,
            "done": request.query.get("done", "") if fault is None else "",
            "needed": needed and session is not None and session.proof is Proof.PASSWORD,
            "fault": fault,
        }
        return self._renderer.render(request, "security", context=context, status=status)
