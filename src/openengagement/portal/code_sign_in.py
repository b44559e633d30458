"""The page that asks for a code of the second factor, after the password."""

from typing import Final

from starlette.responses import Response

from openengagement.engagement.permissions import Proof
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.consent import find_pending, form_targets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.portal.second_step import SecondStep
from openengagement.portal.sign_in import SignIn
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.passwords import TooManyGuesses
from openengagement.telemetry import WARNING, log_event

WRONG_CODE: Final = gettext_noop(
    "This code is not valid. Write the newest code of your app, or a recovery code that you have "
    "not used yet."
)
TOO_MANY_CODES: Final = gettext_noop("There were too many codes. Try again in %(minutes)s min.")


class CodeSignIn:
    """Handlers of `/sign-in/code`."""

    def __init__(self, renderer: PageRenderer, sign_in: SignIn, *, step: SecondStep) -> None:
        self._renderer = renderer
        self._sign_in = sign_in
        self._step = step

    def show(self, request: PageRequest) -> Response:
        """`GET /sign-in/code`."""
        return self._render(request)

    def submit(self, request: PageRequest) -> Response:
        """`POST /sign-in/code`: complete the sign-in."""
        found = self._step.read(request)
        if found is None:
            return redirect("/sign-in")
        step, account, stored = found
        try:
            accepted = self._step.factors.verify(account.id, request.fields.get("code", ""))
        except TooManyGuesses as error:
            return self._refuse_many(request, error)
        if not accepted:
            self._note("wrong_code")
            return self._render(request, error=_(WRONG_CODE), status=403)
        self._step.end(request)
        try:
            return self._sign_in.complete(
                request,
                account,
                return_to=step.return_to,
                proof=Proof.CODE,
                password_hash=stored,
            )
        except PasswordChanged:
            return redirect("/sign-in")

    def _refuse_many(self, request: PageRequest, error: TooManyGuesses) -> Response:
        self._note("too_many_attempts")
        text = _(TOO_MANY_CODES, minutes=-(-error.retry_after_s // 60))
        response = self._render(request, error=text, status=429)
        response.headers["retry-after"] = str(error.retry_after_s)
        return response

    def _note(self, reason: str) -> None:
        log_event("sign_in_refused", level=WARNING, reason=reason)
        SIGN_INS.add(1, "password", reason)

    def _render(
        self, request: PageRequest, *, error: str | None = None, status: int = 200
    ) -> Response:
        found = self._step.read(request)
        if found is None:
            return redirect("/sign-in")
        step, account, _stored = found
        pending = find_pending(self._sign_in.flow, step.return_to)
        targets = form_targets(pending) if pending else ()
        title = _("Enter your code")
        context = {"title": title, "error": error, "screen_name": account.screen_name}
        return self._renderer.render(
            request, "sign_in_code", context=context, status=status, form_targets=targets
        )
