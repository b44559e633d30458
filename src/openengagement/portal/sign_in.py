"""Sign in and sign out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.engagement.permissions import Proof
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.consent import describe_pending, find_pending, form_targets
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.portal.second_step import SecondStep
from openengagement.registry.accounts import Account
from openengagement.telemetry import log_event

HOME_PATH: Final = "/"
_PATH_LENGTH_MAX: Final = 2048


@dataclass(frozen=True, slots=True)
class SignInMethods:
    """How people may sign in: with a password, through the provider of this name, or both."""

    password: bool
    provider: str | None


class SignIn:
    """Handlers of `/sign-in` and `/sign-out`, and the last step of every sign-in method."""

    def __init__(
        self,
        renderer: PageRenderer,
        sessions: BrowserSessions,
        *,
        flow: ThreeLeggedFlow,
        methods: SignInMethods,
        second_step: SecondStep,
    ) -> None:
        self._renderer = renderer
        self.sessions = sessions
        self.flow = flow
        self.methods = methods
        self.second_step = second_step

    @property
    def provider_name(self) -> str:
        """The name of the OpenID Connect provider, as people know it."""
        return self.methods.provider or ""

    def show(self, request: PageRequest) -> Response:
        """`GET /sign-in`."""
        return self.show_form(request, request.query)

    def sign_out(self, request: PageRequest) -> Response:
        """`POST /sign-out`."""
        self.sessions.end(request)
        return redirect("/sign-in")

    def complete(
        self,
        request: PageRequest,
        account: Account,
        *,
        return_to: str,
        proof: Proof,
        password_hash: str | None = None,
    ) -> Response:
        """Start the session of a person whose identity is proven, and go on to `return_to`.

        After a password, go to the page for a code first if the account has a second factor.

        `password_hash` is the hash of the password that proved it, None if another proof did.

        Raises:
            PasswordChanged: what was proven does not suffice any more.
        """
        if proof is Proof.PASSWORD and password_hash and self.second_step.is_needed(account.id):
            return self.second_step.begin(
                request, account.id, return_to=return_to, password_hash=password_hash
            )
        pending = find_pending(self.flow, return_to)
        token = pending.request.token if pending else ""
        self.sessions.start(
            request, account, request_token=token, password_hash=password_hash, proof=proof
        )
        method = "password" if password_hash else "openid"
        log_event("signed_in", method=method)
        SIGN_INS.add(1, method, "signed_in")
        return redirect(return_to)

    def show_form(
        self,
        request: PageRequest,
        given: Mapping[str, str],
        *,
        error: str | None = None,
        fields_wrong: bool = True,
        status: int = 200,
    ) -> Response:
        """Show the sign-in page, filled in with what was given.

        `fields_wrong` says that the error is about the form's fields.
        """
        return_to = local_path(given.get("return_to", ""))
        pending = find_pending(self.flow, return_to)
        context = {
            "title": "Sign in",
            "error": error,
            "done": error is None and given.get("done") == "password",
            "fields_wrong": error is not None and fields_wrong,
            "screen_name": given.get("screen_name", "")[:64],
            "return_to": return_to,
            "app": describe_pending(pending) if pending else None,
            "password_sign_in": self.methods.password,
            "oidc": self.methods.provider is not None,
            "oidc_name": self.provider_name,
        }
        targets = form_targets(pending) if pending else ()
        return self._renderer.render(
            request, "sign_in", context=context, status=status, form_targets=targets
        )


def local_path(url: str) -> str:
    """Return a path of this server that a sign-in may return to; the home page for any other URL.

    Browsers read `//host`, backslashes and control characters as the start of another site.
    """
    plain = url.isascii() and url.isprintable() and "\\" not in url and " " not in url
    if not plain or not url.startswith("/") or url.startswith("//") or len(url) > _PATH_LENGTH_MAX:
        return HOME_PATH
    return url
