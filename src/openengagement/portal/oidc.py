"""Sign in through the platform's OpenID Connect provider.

A page sends the browser to the provider. A redirect would not do: browsers apply the policy on the
targets of a form (CSP `form-action`) to every redirect that follows, and the provider may redirect
to hosts that this server does not know.
"""

from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from starlette.responses import Response

from openengagement.engagement.permissions import Proof
from openengagement.http.threads import run_in_pool
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.consent import return_forces_login
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer
from openengagement.portal.sign_in import SignIn, local_path
from openengagement.registry.sessions import PasswordChanged
from openengagement.sign_in.openid import (
    ATTEMPT_S,
    AnswerRefused,
    AttemptRefused,
    RelyingParty,
    SignInDenied,
)
from openengagement.sign_in.provider import (
    CodeRefused,
    InvalidProviderAnswer,
    ProviderUnavailable,
)
from openengagement.telemetry import WARNING, log_event

_COOKIE: Final = "openid"
_CALLBACK: Final = "/sign-in/oidc/callback"
_AUTHENTICATE_PATH: Final = "/oauth/authenticate"
_ENDED: Final = gettext_noop(
    "This sign-in has ended: it started in another window or browser, it took more than "
    "10 minutes, or it was already used. Try again."
)
_SILENT: Final = gettext_noop("%(provider)s does not answer. Try again in a moment.")
_WRONG: Final = gettext_noop(
    "%(provider)s sent an answer that this server cannot trust. The operator finds the "
    "reason in the log of this server."
)
_DENIED: Final = gettext_noop("%(provider)s did not sign you in. Try again.")
_NO_ACCOUNT: Final = gettext_noop(
    "You are signed in at %(provider)s, but no account of this platform belongs to that "
    "sign-in. Ask the operator of this server."
)

_FAILURES: Final = (
    SignInDenied,
    AnswerRefused,
    CodeRefused,
    ProviderUnavailable,
    InvalidProviderAnswer,
)


class _NoAccount(Exception):
    """The provider's claims name no account of the platform."""


class OidcSignIn:
    """Handlers of `/sign-in/oidc` and its callback; they await the provider on the event loop."""

    def __init__(
        self,
        renderer: PageRenderer,
        *,
        sign_in: SignIn,
        relying_party: RelyingParty,
        pool: Executor,
    ) -> None:
        self._renderer = renderer
        self._sign_in = sign_in
        self._relying_party = relying_party
        self._pool = pool

    async def start(self, request: PageRequest) -> Response:
        """`POST /sign-in/oidc`: send the browser to the provider."""
        return_to = local_path(request.fields.get("return_to", ""))
        try:
            started = await self._relying_party.start(
                return_to,
                redirect_uri=request.origin + _CALLBACK,
                reauthenticate=return_forces_login(return_to),
            )
        except (ProviderUnavailable, InvalidProviderAnswer) as error:
            return await self._fail(request, return_to, error=error)
        request.set_cookies[_COOKIE] = (started.cookie, ATTEMPT_S)
        return self._show_continue(request, started.url, destination=self._sign_in.provider_name)

    async def finish(self, request: PageRequest) -> Response:
        """`GET /sign-in/oidc/callback`: the browser returns from the provider."""
        try:
            state = request.query.get("state", "")
            attempt = self._relying_party.open_attempt(request.cookie(_COOKIE), state)
        except AttemptRefused as error:  # keep the cookie: another attempt may be under way
            return await self._fail(request, "", error=error)
        request.set_cookies[_COOKIE] = ("", 0)
        try:
            claims = await self._relying_party.finish(
                attempt, request.query, redirect_uri=request.origin + _CALLBACK
            )
        except _FAILURES as error:
            return await self._fail(request, attempt.return_to, error=error)
        work = partial(self._complete, request, attempt.return_to, claims=claims)
        return await run_in_pool(self._pool, work)

    def _complete(
        self, request: PageRequest, return_to: str, *, claims: Mapping[str, object]
    ) -> Response:
        account = self._relying_party.find_account(claims)
        if account is None:
            return self._show_failure(request, return_to, error=_NoAccount())
        try:
            response = self._sign_in.complete(
                request, account, return_to=return_to, proof=Proof.PROVIDER
            )
        except PasswordChanged:  # without a password, only if the account was erased meanwhile
            return self._show_failure(request, return_to, error=_NoAccount())
        if return_to.startswith(_AUTHENTICATE_PATH):
            # That page may redirect to the app at once, which the `form-action` of the provider's
            # page may forbid. A page in between ends the chain of redirects.
            return self._show_continue(request, return_to, destination=None)
        return response

    async def _fail(self, request: PageRequest, return_to: str, *, error: Exception) -> Response:
        work = partial(self._show_failure, request, return_to, error=error)
        return await run_in_pool(self._pool, work)

    def _show_failure(self, request: PageRequest, return_to: str, *, error: Exception) -> Response:
        """Log a failure for the operator, and show the sign-in page with a text for the person."""
        status, text, reason = _describe(error)
        log_event("openid_failed", level=WARNING, reason=reason)
        SIGN_INS.add(1, "openid", "failed")
        return self._sign_in.show_form(
            request,
            {"return_to": return_to},
            error=_(text, provider=self._sign_in.provider_name),
            fields_wrong=False,
            status=status,
        )

    def _show_continue(
        self, request: PageRequest, url: str, *, destination: str | None
    ) -> Response:
        """Show a page that continues by itself, and has a link for browsers that do not."""
        context = {"title": _("One moment"), "url": url, "destination": destination}
        response = self._renderer.render(request, "continue", context=context)
        response.headers["refresh"] = f"0; url={url}"
        return response


def _describe(error: Exception) -> tuple[int, str, str]:
    """Return the status of the answer, the text for the person and the reason for the log."""
    match error:
        case ProviderUnavailable():
            return 503, _SILENT, "silent"
        case InvalidProviderAnswer():
            return 502, _WRONG, str(error)
        case SignInDenied():
            return 403, _DENIED, f"denied {error}"
        case _NoAccount():
            return 403, _NO_ACCOUNT, "no_account"
        case CodeRefused():
            return 403, _ENDED, "code_refused"
        case _:
            return 403, _ENDED, str(error)
