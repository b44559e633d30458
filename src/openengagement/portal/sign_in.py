"""Signing in and out."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.auth.three_legged_flow import ThreeLeggedFlow
from openengagement.portal.consent import describe_app, find_pending, leads_to
from openengagement.portal.desk import Desk
from openengagement.portal.rendering import redirect
from openengagement.portal.visits import Visit, Visits
from openengagement.registry.accounts import Account
from openengagement.sign_in.passwords import Guess, Passwords, TooManyGuesses

HOME: Final = "/settings/apps"
_IPV6_NETWORK: Final = 64  # one subscriber's
_WRONG: Final = "That screen name and password do not belong together. Please try again."


_NO_PASSWORDS: Final = "Nobody signs in with a password here."


@dataclass(frozen=True, slots=True)
class Ways:
    """How people may sign in: with a password of ours, through a provider of this name."""

    password: bool
    provider: str | None


class SignIn:
    """Handlers of `/sign-in` and `/sign-out`."""

    def __init__(
        self, desk: Desk, visits: Visits, *, passwords: Passwords, legs: ThreeLeggedFlow, ways: Ways
    ) -> None:
        self._desk = desk
        self._visits = visits
        self._passwords = passwords
        self._legs = legs
        self._ways = ways

    @property
    def provider_name(self) -> str:
        """What people know the OpenID Connect provider by."""
        return self._ways.provider or ""

    def show(self, visit: Visit) -> Response:
        """`GET /sign-in`."""
        return self.form(visit, visit.query)

    def knock(self, visit: Visit) -> Response | None:
        """`POST /sign-in`, before it waits for its turn: what refuses it at once, if anything."""
        if not self._ways.password:
            return self.form(visit, visit.fields, error=_NO_PASSWORDS, status=403)
        try:
            self._passwords.limit_guesses(self._guess(visit))
        except TooManyGuesses as error:
            minutes = -(-error.retry_after_s // 60)
            text = (
                f"There were too many attempts. Please wait {minutes} min and try again, or use a "
                "browser that you signed in with before."
            )
            response = self.form(visit, visit.fields, error=text, status=429)
            response.headers["retry-after"] = str(error.retry_after_s)
            return response
        return None

    def _guess(self, visit: Visit) -> Guess:
        screen_name = visit.fields.get("screen_name", "").strip().removeprefix("@")
        known = self._visits.known_browser(visit, screen_name)
        return Guess(screen_name, network(visit.address), known)

    def sign_in(self, visit: Visit) -> Response:
        """`POST /sign-in`, counted already. As slow as Argon2id."""
        account = self._passwords.verify(self._guess(visit), visit.fields.get("password", ""))
        if account is None:
            return self.form(visit, visit.fields, error=_WRONG, status=403)
        return self.admit(visit, account, return_to=own_path(visit.fields.get("return_to", "")))

    def admit(self, visit: Visit, account: Account, *, return_to: str) -> Response:
        """Begin the session of a person who has proven who they are."""
        pending = find_pending(self._legs, return_to)
        token = pending.request.token if pending else ""
        self._visits.sign_in(visit, account, on_the_way_to=token)
        return redirect(return_to)

    def sign_out(self, visit: Visit) -> Response:
        """`POST /sign-out`."""
        self._visits.sign_out(visit)
        return redirect("/sign-in")

    def form(
        self,
        visit: Visit,
        given: Mapping[str, str],
        *,
        error: str | None = None,
        fields_wrong: bool = True,
        status: int = 200,
    ) -> Response:
        """The page of signing in, with what was given filled in."""
        return_to = own_path(given.get("return_to", ""))
        pending = find_pending(self._legs, return_to)
        context = {
            "title": "Sign in",
            "error": error,
            "fields_wrong": error is not None and fields_wrong,
            "screen_name": given.get("screen_name", "")[:64],
            "return_to": return_to,
            "app": describe_app(pending) if pending else None,
            "password_sign_in": self._ways.password,
            "oidc": self._ways.provider is not None,
            "oidc_name": self.provider_name,
        }
        allowed = leads_to(pending) if pending else ()
        return self._desk.page(visit, "sign_in", context=context, status=status, leads_to=allowed)


def to_sign_in(visit: Visit, *, back: str = "") -> Response:
    """To the sign-in page, which leads back here, or to `back` where here was a form."""
    query = urlencode(visit.pairs)
    here = back or (f"{visit.path}?{query}" if query else visit.path)
    return redirect(f"/sign-in?{urlencode({'return_to': here})}")


def own_path(url: str) -> str:
    """A path of this server that a sign-in may return to; the home page for anything else.

    What browsers make of `//host`, of backslashes and of control characters leads elsewhere.
    """
    plain = url.isascii() and url.isprintable() and "\\" not in url and " " not in url
    if not plain or not url.startswith("/") or url.startswith("//") or len(url) > 2048:  # noqa: PLR2004
        return HOME
    return url


def network(address: str) -> str:
    """What guesses are counted by: an IPv4 address, or the network of an IPv6 one."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, _IPV6_NETWORK), strict=False))
    return str(getattr(known, "ipv4_mapped", None) or known)
