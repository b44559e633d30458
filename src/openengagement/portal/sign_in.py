"""Sign in and sign out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.engagement.permissions import Proof
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.metrics.table import SIGN_INS
from openengagement.portal.browser_sessions import BrowserSessions
from openengagement.portal.consent import describe_pending, find_pending, form_targets
from openengagement.portal.kept_forms import KeptForms
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import FOREIGN_FORM, NO_FAULTS, PageRenderer, redirect
from openengagement.portal.second_step import SecondStep
from openengagement.registry.accounts import Account
from openengagement.telemetry import log_event

HOME_PATH: Final = "/"
_PATH_LENGTH_MAX: Final = 2048
_LATE: Final = gettext_noop(
    "The form was not accepted: its page was open for too long. Sign in again here."
)


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
        kept_forms: KeptForms,
        flow: ThreeLeggedFlow,
        methods: SignInMethods,
        second_step: SecondStep,
    ) -> None:
        self._renderer = renderer
        self._kept_forms = kept_forms
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

    def refuse_late(self, request: PageRequest) -> Response:
        """Show the form of `POST /sign-in` again, whose page was open for too long."""
        return self.show_form(
            request, request.fields, error=_(_LATE), fields_wrong=False, status=403
        )

    def sign_out_late(self, request: PageRequest) -> Response:
        """`POST /sign-out` from a page of an earlier session. Nobody is signed out twice."""
        if request.session is None:
            return redirect("/sign-in")
        return self._renderer.refuse(request, FOREIGN_FORM)

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
        error: str | Mapping[str, str] | None = None,
        fields_wrong: bool = True,
        status: int = 200,
    ) -> Response:
        """Show the sign-in page, filled in with what was given.

        `fields_wrong` says that the error is about the form's fields. An `error` that is a mapping
        says what to write in each field.
        """
        faults = NO_FAULTS if error is None or isinstance(error, str) else error
        return_to = local_path(given.get("return_to", ""))
        pending = find_pending(self.flow, return_to)
        context = {
            "title": _("Sign in"),
            "error": error if isinstance(error, str) else None,
            "faults": faults,
            "done": error is None and given.get("done") == "password",
            "fields_wrong": isinstance(error, str) and fields_wrong,
            "screen_name": given.get("screen_name", "")[:64],
            "return_to": return_to,
            "kept": self._kept_forms.find_waiting(request, return_to),
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
