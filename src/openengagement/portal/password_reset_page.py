"""Ask for a link that resets a password, and set a new password with it."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.concurrency import client_networks
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, Refusal, redirect
from openengagement.portal.security import describe_unfit_password
from openengagement.portal.sign_in_parts import SignInParts
from openengagement.sign_in.passwords import TooManyGuesses, UnfitPassword
from openengagement.telemetry import log_event

RESET_PATH: Final = "/sign-in/reset"
NEW_PASSWORD_PATH: Final = "/sign-in/new-password"
_TOO_MANY: Final = gettext_noop("Too many links were asked for. Try again in %(minutes)s min.")
_ENDED: Final = Refusal(
    403,
    gettext_noop("This link has ended"),
    gettext_noop(
        "It was used already, is too old, or a newer one was sent. Ask for a new link on the page "
        "for signing in."
    ),
)


class PasswordResetPage:
    """Handlers of `/sign-in/reset` and `/sign-in/new-password`.

    Nobody is signed in by a link: a second factor is asked for as at every sign-in.
    """

    def __init__(self, renderer: PageRenderer, parts: SignInParts) -> None:
        self._renderer = renderer
        self._reset = parts.reset
        self._check = parts.check
        self._is_available = parts.passwords and parts.reset.is_available

    def show(self, request: PageRequest) -> Response:
        """`GET /sign-in/reset`."""
        return self._render(request, screen_name=request.query.get("screen_name", "")[:64])

    def submit(self, request: PageRequest) -> Response:
        """`POST /sign-in/reset`: the same answer, whether or not the account exists."""
        screen_name = request.fields.get("screen_name", "").strip().removeprefix("@")[:64]
        if not self._is_available or not screen_name:
            return self._render(request, status=200 if self._is_available else 403)
        try:
            self._reset.request(screen_name, client_networks(request.address))
        except TooManyGuesses as error:
            text = _(_TOO_MANY, minutes=-(-error.retry_after_s // 60))
            response = self._render(request, screen_name=screen_name, error=text, status=429)
            response.headers["retry-after"] = str(error.retry_after_s)
            return response
        return self._render(request, sent_to=screen_name)

    def show_new(self, request: PageRequest) -> Response:
        """`GET /sign-in/new-password`: the page that a link opens. It does not use the link."""
        return self._render_new(request, request.query.get("token", ""))

    async def set_new(self, request: PageRequest) -> Response:
        """`POST /sign-in/new-password`.

        Raises:
            Busy: too many passwords are being verified.
        """
        token = request.fields.get("token", "")
        if await self._check.run(self._reset.find, token) is None:  # before the work of a hash
            return await self._check.run(self._renderer.refuse, request, _ENDED)
        try:
            hashed = await self._check.hash(request, request.fields.get("new_password", ""))
        except UnfitPassword:
            return await self._check.run(
                partial(self._render_new, request, token, fault=describe_unfit_password())
            )
        return await self._check.run(partial(self._use, request, token, hashed=hashed))

    def _use(self, request: PageRequest, token: str, *, hashed: str) -> Response:
        if self._reset.use(token, password_hash=hashed) is None:
            return self._renderer.refuse(request, _ENDED)
        log_event("password_reset")
        return redirect("/sign-in?done=password")

    def _render(
        self,
        request: PageRequest,
        *,
        screen_name: str = "",
        sent_to: str = "",
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        context: dict[str, Any] = {
            "title": _("Forgot your password?"),
            "is_available": self._is_available,
            "screen_name": screen_name,
            "sent_to": sent_to,
            "minutes": self._reset.minutes,
            "error": error,
        }
        return self._renderer.render(request, "password_reset", context=context, status=status)

    def _render_new(
        self, request: PageRequest, token: str, *, fault: str | None = None
    ) -> Response:
        account = self._reset.find(token)
        if account is None:
            return self._renderer.refuse(request, _ENDED)
        context = {
            "title": _("Set a new password"),
            "token": token,
            "screen_name": account.screen_name,
            "fault": fault,
        }
        status = 400 if fault else 200
        return self._renderer.render(request, "new_password", context=context, status=status)
