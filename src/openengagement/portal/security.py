"""Password and sign-in: change the password, and see how the account signs in."""

from functools import partial
from typing import Any, Final

from starlette.responses import Response

from openengagement.engagement.permissions import Proof
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _
from openengagement.portal.manage_views import actor_of
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.portal.sign_in_parts import SignInParts
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.passwords import (
    PASSWORD_LENGTH_MAX,
    PASSWORD_LENGTH_MIN,
    TooManyGuesses,
    UnfitPassword,
)

SECURITY_PATH: Final = "/settings/security"
_CHANGED: Final = "changed password"
RECOVERY: Final = "recovery codes"  # the subject of `OneTimeSecrets`
WRONG_PASSWORD: Final = gettext_noop("This is not your present password.")
TOO_MANY_PASSWORDS: Final = gettext_noop(
    "There were too many attempts. Try again in %(minutes)s min."
)


def describe_unfit_password() -> str:
    """Say how long a password may be."""
    return _(
        "Write a password of %(least)s to %(most)s characters.",
        least=PASSWORD_LENGTH_MIN,
        most=current().formats.number(PASSWORD_LENGTH_MAX),
    )


class SecurityPage:
    """Handlers of `/settings/security`."""

    def __init__(self, renderer: PageRenderer, parts: SignInParts) -> None:
        self._renderer = renderer
        self._parts = parts
        self._check = parts.check

    def show(self, request: PageRequest) -> Response:
        """`GET /settings/security`."""
        return self.render(request)

    def has_password(self, request: PageRequest) -> bool:
        """Tell whether this person signs in with a password."""
        hashes = self._parts.registry.password_hashes
        return self._parts.passwords and hashes.read_password_hash(request.account_id) is not None

    async def change_password(self, request: PageRequest) -> Response:
        """`POST /settings/security/password`.

        Raises:
            Busy: too many passwords are being verified.
        """
        assert request.session is not None, "the page's route demands a sign-in"
        given = request.fields.get("password", "")
        try:
            verified = await self._check.verify(
                request, request.session.screen_name, password=given
            )
            if verified is None or verified.account.id != request.account_id:
                return await self._refuse(request, "password", text=_(WRONG_PASSWORD), status=403)
            new = await self._check.hash(request, request.fields.get("new_password", ""))
        except TooManyGuesses as error:
            text = _(TOO_MANY_PASSWORDS, minutes=-(-error.retry_after_s // 60))
            return await self._refuse(request, "password", text=text, status=429)
        except UnfitPassword:
            text = describe_unfit_password()
            return await self._refuse(request, "new_password", text=text, status=400)
        change = partial(self._change, request, old=verified.password_hash, new=new)
        return await self._check.run(change)

    def _change(self, request: PageRequest, *, old: str, new: str) -> Response:
        """Store the password, and go on in a new session: all sessions have ended."""
        session = request.session
        account = self._parts.registry.accounts.read_account(request.account_id)
        if session is None or account is None:
            return redirect("/sign-in")
        actor = actor_of(session)
        hashes = self._parts.registry.password_hashes
        try:
            hashes.change_password(actor, old=old, new=new, now_s=int(self._parts.now_s()))
            session_id = self._parts.sessions.start(
                request, account, request_token="", password_hash=new, proof=session.proof
            )
        except PasswordChanged:
            return redirect("/sign-in")
        self._parts.reset.tell(account.id, account.screen_name)
        done = {"done": "password"}
        self._parts.one_time_secrets.put(request, _CHANGED, secrets=done, session_id=session_id)
        return redirect(f"{SECURITY_PATH}?done=password")

    async def _refuse(
        self, request: PageRequest, field: str, *, text: str, status: int
    ) -> Response:
        work = partial(self.render, request, fault=(field, text), status=status)
        return await self._check.run(work)

    def render(
        self, request: PageRequest, *, fault: tuple[str, str] | None = None, status: int = 200
    ) -> Response:
        """Show the page; `fault` names a field and says what is wrong with it."""
        account_id = request.account_id
        has_password = self.has_password(request)
        is_on = self._parts.factors.is_on(account_id)
        codes = self._parts.one_time_secrets.take(request, RECOVERY).get("codes", "")
        session = request.session
        needed = request.query.get("for") == "manage"
        context: dict[str, Any] = {
            "title": _("Password and sign-in"),
            "scripts": ("page.js",),
            "has_password": has_password,
            "mail": self._parts.registry.accounts.read_mail(account_id),
            "is_on": is_on,
            "codes": codes.split("\n") if codes else [],
            "codes_left": self._parts.factors.count_codes(account_id) if is_on else 0,
            "done": "" if fault else self._read_done(request, is_on=is_on),
            "needed": needed and session is not None and session.proof is Proof.PASSWORD,
            "fault": fault,
        }
        return self._renderer.render(request, "security", context=context, status=status)

    def _read_done(self, request: PageRequest, *, is_on: bool) -> str:
        """Return what the URL says was just done; empty if that contradicts what is known.

        Anybody can write such a link. So the form that changes a password tells the page apart
        from its URL.
        """
        changed = bool(self._parts.one_time_secrets.take(request, _CHANGED))
        known = {"on": is_on, "off": not is_on, "password": changed}
        done = request.query.get("done", "")
        return done if known.get(done) else ""
