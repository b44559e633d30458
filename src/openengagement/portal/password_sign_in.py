"""Sign in with a screen name and a password."""

from functools import partial
from typing import Final

from starlette.responses import Response

from openengagement.engagement.permissions import Proof
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.page_request import PageRequest
from openengagement.portal.password_check import PasswordCheck
from openengagement.portal.sign_in import SignIn, local_path
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.passwords import TooManyGuesses, Verified
from openengagement.telemetry import WARNING, log_event

_WRONG: Final = gettext_noop(
    "This screen name and password do not match. Check both and try again."
)
_NO_PASSWORDS: Final = gettext_noop(
    "This server accepts no passwords. Sign in through the provider."
)


class PasswordSignIn:
    """The handler of `POST /sign-in`."""

    def __init__(self, sign_in: SignIn, check: PasswordCheck) -> None:
        self._sign_in = sign_in
        self._check = check

    async def submit(self, request: PageRequest) -> Response:
        """`POST /sign-in`.

        Raises:
            Busy: too many sign-ins are under way.
        """
        if not self._sign_in.methods.password:
            text = _(_NO_PASSWORDS)
            return await self._check.run(partial(self._refuse, request, text, status=403))
        if faults := _find_faults(request):
            show = partial(self._sign_in.show_form, error=faults, status=400)
            return await self._check.run(show, request, request.fields)
        screen_name = request.fields.get("screen_name", "").strip().removeprefix("@")
        password = request.fields.get("password", "")
        try:
            verified = await self._check.verify(request, screen_name, password=password)
        except TooManyGuesses as error:
            return await self._check.run(self._refuse_many, request, error)
        return await self._check.run(self._complete, request, verified)

    def _refuse_many(self, request: PageRequest, error: TooManyGuesses) -> Response:
        log_event("sign_in_refused", level=WARNING, reason="too_many_attempts")
        SIGN_INS.add(1, "password", "too_many_attempts")
        text = _(
            "There were too many attempts. Try again in %(minutes)s min, or use a browser that you "
            "have signed in with before.",
            minutes=-(-error.retry_after_s // 60),
        )
        response = self._refuse(request, text, status=429)
        response.headers["retry-after"] = str(error.retry_after_s)
        return response

    def _complete(self, request: PageRequest, verified: Verified | None) -> Response:
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
                proof=Proof.PASSWORD,
                password_hash=verified.password_hash,
            )
        except PasswordChanged:
            return self._refuse(request, _(_WRONG), status=403)

    def _refuse(self, request: PageRequest, text: str, *, status: int) -> Response:
        return self._sign_in.show_form(request, request.fields, error=text, status=status)


def _find_faults(request: PageRequest) -> dict[str, str]:
    """Map the empty fields to what to write. An empty field is no guess."""
    given, faults = request.fields, {}
    if not given.get("screen_name", "").strip():
        faults["screen_name"] = _("Write your screen name.")
    if not given.get("password"):
        faults["password"] = _("Write your password.")
    return faults
