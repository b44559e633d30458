"""Signing in through the platform's OpenID Connect provider, as the browser sees it.

The browser leaves by a page of ours, not by a redirect: a policy on where a form may lead applies
to every redirect after it, and where the provider sends people on the way is its own affair.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.responses import Response

from openengagement.http.forms import read_url_query
from openengagement.portal.consent import forces_login
from openengagement.portal.desk import Desk
from openengagement.portal.sign_in import SignIn, own_path
from openengagement.portal.visits import Visit, Visits
from openengagement.sign_in.openid import (
    ATTEMPT_S,
    AnswerRefused,
    Attempt,
    AttemptRefused,
    RelyingParty,
    SignInDenied,
)
from openengagement.sign_in.provider import (
    CodeRefused,
    InvalidProviderAnswer,
    ProviderUnavailable,
)
from openengagement.telemetry import log_event

_COOKIE: Final = "openid"
_CALLBACK: Final = "/sign-in/oidc/callback"
_PASSES_ON: Final = "/oauth/authenticate"
_ENDED: Final = (
    "That sign-in has ended: it was begun in another window or browser, it took more than "
    "10 minutes, or it was used already. Please try again."
)
_SILENT: Final = "{} does not answer. Please try again in a moment."
_WRONG: Final = (
    "{} gave an answer that this server cannot rely on. The people who run this server find the "
    "reason in its log."
)
_DENIED: Final = "{} did not sign you in. Please try again."
_NOBODY: Final = (
    "You are signed in at {}, but no account here goes with that. Please ask the people who run "
    "this server."
)
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Setback:
    """Why a sign-in ends without a session; the page of signing in says so."""

    status: int
    text: str


class OidcSignIn:
    """Handlers of `/sign-in/oidc` and its callback; they wait for the provider."""

    def __init__(
        self,
        desk: Desk,
        visits: Visits,
        *,
        sign_in: SignIn,
        relying_party: RelyingParty,
        pool: Executor,
    ) -> None:
        self._desk = desk
        self._visits = visits
        self._sign_in = sign_in
        self._relying_party = relying_party
        self._pool = pool

    async def begin(self, visit: Visit) -> Response:
        """`POST /sign-in/oidc`: to the provider."""
        return_to = own_path(visit.fields.get("return_to", ""))
        try:
            started = await self._relying_party.start(
                return_to,
                redirect_uri=visit.origin + _CALLBACK,
                reauthenticate=forces_login(read_url_query(return_to)),
            )
        except (ProviderUnavailable, InvalidProviderAnswer) as error:
            setback = self._describe(error)
            return await self._in_thread(lambda: self._refuse(visit, return_to, setback=setback))
        visit.set_cookies[_COOKIE] = (started.cookie, ATTEMPT_S)
        return self._onward(visit, started.url, place=self._sign_in.provider_name)

    async def finish(self, visit: Visit) -> Response:
        """`GET /sign-in/oidc/callback`: back from the provider."""
        cookie = self._visits.cookie(visit, _COOKIE)
        try:
            attempt = self._relying_party.open_attempt(cookie, visit.query.get("state", ""))
        except AttemptRefused as error:  # the one that is under way here, if any, is left alone
            setback = self._describe(error)
            return await self._in_thread(lambda: self._refuse(visit, "", setback=setback))
        visit.set_cookies[_COOKIE] = ("", 0)
        try:
            claims = await self._relying_party.finish(
                attempt, visit.query, redirect_uri=visit.origin + _CALLBACK
            )
        except (
            SignInDenied,
            AnswerRefused,
            CodeRefused,
            ProviderUnavailable,
            InvalidProviderAnswer,
        ) as error:
            found = self._describe(error)
            return await self._in_thread(
                lambda: self._refuse(visit, attempt.return_to, setback=found)
            )
        return await self._in_thread(lambda: self._admit(visit, attempt, claims=claims))

    def _admit(self, visit: Visit, attempt: Attempt, *, claims: dict[str, object]) -> Response:
        account = self._relying_party.find_account(claims)
        if account is None:
            log_event("openid_failed", reason="no_account")
            text = _NOBODY.format(self._sign_in.provider_name)
            return self._refuse(visit, attempt.return_to, setback=_Setback(403, text))
        arrived = self._sign_in.admit(visit, account, return_to=attempt.return_to)
        if attempt.return_to.startswith(_PASSES_ON):
            # It may send the browser on to an app at once, and the form that led here is the
            # provider's, whose policy knows nothing of the app.
            return self._onward(visit, attempt.return_to, place=None)
        return arrived

    def _describe(self, error: Exception) -> _Setback:
        """What the person reads of a failure; what the operator needs of it is logged."""
        name = self._sign_in.provider_name
        if isinstance(error, ProviderUnavailable):
            log_event("openid_failed", reason="silent")
            return _Setback(503, _SILENT.format(name))
        if isinstance(error, InvalidProviderAnswer):
            log_event("openid_failed", reason=str(error))
            return _Setback(502, _WRONG.format(name))
        if isinstance(error, SignInDenied):
            log_event("openid_failed", reason=f"denied {error}")
            return _Setback(403, _DENIED.format(name))
        reason = "code_refused" if isinstance(error, CodeRefused) else str(error)
        log_event("openid_failed", reason=reason)
        return _Setback(403, _ENDED)

    def _refuse(self, visit: Visit, return_to: str, *, setback: _Setback) -> Response:
        given = {"return_to": return_to}
        return self._sign_in.form(
            visit, given, error=setback.text, fields_wrong=False, status=setback.status
        )

    def _onward(self, visit: Visit, url: str, *, place: str | None) -> Response:
        """A page that goes on by itself, and by a link."""
        context = {"title": "One moment", "url": url, "place": place}
        response = self._desk.page(visit, "onward", context=context)
        response.headers["refresh"] = f"0; url={url}"
        return response

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
