"""Turn the second factor of one's account on and off."""

from functools import partial
from typing import Final

import segno
from starlette.responses import Response

from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.code_sign_in import TOO_MANY_CODES, WRONG_CODE
from openengagement.portal.manage_views import actor_of
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.portal.security import (
    RECOVERY,
    SECURITY_PATH,
    TOO_MANY_PASSWORDS,
    WRONG_PASSWORD,
    SecurityPage,
)
from openengagement.portal.sign_in_parts import SignInParts
from openengagement.sign_in.passwords import TooManyGuesses

FACTOR_PATH: Final = f"{SECURITY_PATH}/second-factor"
_QUIET_MODULES: Final = 4  # the margin around a QR code, as its standard demands
_NEW_SECRET: Final = gettext_noop(
    "This page shows another secret now. Add this one to your app, and write its code."
)


class SecondFactorPage:
    """Handlers of `/settings/security/second-factor`."""

    def __init__(
        self, renderer: PageRenderer, security: SecurityPage, *, parts: SignInParts
    ) -> None:
        self._renderer = renderer
        self._security = security
        self._check = parts.check
        self._factors = parts.factors
        self._one_time_secrets = parts.one_time_secrets
        self._waiting = parts.waiting_secrets

    def show(self, request: PageRequest) -> Response:
        """`GET /settings/security/second-factor`: the secret for the app, as a QR code and text."""
        return self._render(request)

    async def turn_on(self, request: PageRequest) -> Response:
        """`POST /settings/security/second-factor`: confirm the password and the first code."""
        if fault := await self._check_password(request):
            text, status = fault
            refuse = partial(self._refuse_on, request, "password", text=text, status=status)
            return await self._check.run(refuse)
        return await self._check.run(self._confirm, request)

    async def turn_off(self, request: PageRequest) -> Response:
        """`POST /settings/security/second-factor/off`: with the password and a code."""
        if fault := await self._check_password(request):
            text, status = fault
            refuse = partial(self._refuse_off, request, "off_password", text=text, status=status)
            return await self._check.run(refuse)
        return await self._check.run(self._remove, request)

    async def _check_password(self, request: PageRequest) -> tuple[str, int] | None:
        """Verify the password of the form; return a text and a status if it is refused."""
        assert request.session is not None, "the page's route demands a sign-in"
        given = request.fields.get("password", "")
        try:
            verified = await self._check.verify(
                request, request.session.screen_name, password=given
            )
        except TooManyGuesses as error:
            return _(TOO_MANY_PASSWORDS, minutes=-(-error.retry_after_s // 60)), 429
        if verified is None or verified.account.id != request.account_id:
            return _(WRONG_PASSWORD), 403
        return None

    def _confirm(self, request: PageRequest) -> Response:
        session = request.session
        assert session is not None, "the page's route demands a sign-in"
        secret = self._waiting.read(request)
        if secret is None:
            return self._refuse_on(request, "code", text=_(_NEW_SECRET), status=409)
        try:
            codes = self._factors.confirm(
                actor_of(session),
                secret,
                code=request.fields.get("code", ""),
                session_id=session.id,
            )
        except TooManyGuesses as error:
            text = _(TOO_MANY_CODES, minutes=-(-error.retry_after_s // 60))
            return self._refuse_on(request, "code", text=text, status=429)
        if codes is None:
            return self._refuse_on(request, "code", text=_(WRONG_CODE), status=403)
        self._waiting.forget(request)
        self._one_time_secrets.put(request, RECOVERY, secrets={"codes": "\n".join(codes)})
        return redirect(f"{SECURITY_PATH}?done=on")

    def _remove(self, request: PageRequest) -> Response:
        session = request.session
        assert session is not None, "the page's route demands a sign-in"
        try:
            accepted = self._factors.verify(session.account_id, request.fields.get("code", ""))
        except TooManyGuesses as error:
            text = _(TOO_MANY_CODES, minutes=-(-error.retry_after_s // 60))
            return self._refuse_off(request, "off_code", text=text, status=429)
        if not accepted:
            return self._refuse_off(request, "off_code", text=_(WRONG_CODE), status=403)
        self._factors.remove(session.account_id, actor=actor_of(session))
        return redirect(f"{SECURITY_PATH}?done=off")

    def _refuse_on(self, request: PageRequest, field: str, *, text: str, status: int) -> Response:
        return self._render(request, fault=(field, text), status=status)

    def _refuse_off(self, request: PageRequest, field: str, *, text: str, status: int) -> Response:
        return self._security.render(request, fault=(field, text), status=status)

    def _render(
        self, request: PageRequest, *, fault: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        session = request.session
        assert session is not None, "the page's route demands a sign-in"
        if not self._security.has_password(request) or self._factors.is_on(session.account_id):
            return redirect(SECURITY_PATH)
        if self._waiting.is_over(request):
            fault = fault or ("code", _(_NEW_SECRET))
        secret = self._waiting.read(request) or self._waiting.draw(request)
        proposal = self._factors.describe(secret, session.screen_name)
        size, path = draw_qr_code(proposal.uri)
        context = {
            "title": _("Turn on the second factor"),
            "scripts": ("page.js",),
            "secret": proposal.secret,
            "qr_size": size,
            "qr_path": path,
            "fault": fault,
        }
        return self._renderer.render(request, "second_factor", context=context, status=status)


def draw_qr_code(text: str) -> tuple[int, str]:
    """Draw a QR code: the length of its side, and the path of an SVG with squares of length 1."""
    rows = list(segno.make_qr(text).matrix_iter(border=_QUIET_MODULES))
    squares = [
        f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark
    ]
    return len(rows), "".join(squares)
