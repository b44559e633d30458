"""A visit: one request of a browser, who is signed in there, and what its forms must show.

Every form carries a token that proves it came from a page of ours in this very browser: a tag of
the session's secret, or of a cookie of its own where nobody is signed in. No state is kept for it.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from openengagement.auth.credentials import draw_cookie, draw_session, hash_token
from openengagement.auth.keyring import Keyring
from openengagement.engagement.types import DAY_S
from openengagement.http.forms import given_once
from openengagement.portal.browsers import describe_browser
from openengagement.registry.accounts import Account
from openengagement.registry.registry import Registry
from openengagement.registry.sessions import Session

_VISITOR_S: Final = DAY_S
_FRESH_S: Final = 15 * 60
_KNOWN_S: Final = 365 * DAY_S


@dataclass(slots=True)
class Visit:
    """One request as the pages see it. `query` and the form's `fields` have each name once.

    `pairs` is the query as it was sent, where a name may stand several times.
    """

    path: str
    params: Mapping[str, str]  # what of the path its route leaves open
    query: Mapping[str, str]
    fields: Mapping[str, str]
    cookies: Mapping[str, str]
    headers: Mapping[str, str]
    host: str
    secure: bool
    address: str
    pairs: Sequence[tuple[str, str]] = ()
    session: Session | None = None
    secret: str = ""  # the cookie that forms are tied to
    set_cookies: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> value, seconds

    @property
    def origin(self) -> str:
        """What the browser's addresses here begin with."""
        return f"{self.scheme}://{self.host}"

    @property
    def scheme(self) -> str:
        """`https` or `http`, as the browser sees it."""
        return "https" if self.secure else "http"

    @property
    def viewer(self) -> dict[str, str] | None:
        """Who is signed in, as the templates want it."""
        if self.session is None:
            return None
        return {"screen_name": self.session.screen_name, "role": self.session.role}


class Visits:
    """Opens visits, and signs people in and out of them."""

    def __init__(
        self, registry: Registry, keyring: Keyring, *, days: int, now_s: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._keyring = keyring
        self._length_s = days * DAY_S
        self._now_s = now_s

    def open(self, request: Request, fields: Mapping[str, str]) -> Visit:
        """Read a request's cookies; looks the session up."""
        visit = Visit(
            path=request.url.path,
            params=request.path_params,
            query=given_once(request.query_params.multi_items()),
            fields=fields,
            cookies=read_cookies(request.headers.raw),
            headers=request.headers,
            host=request.headers.get("host", ""),
            secure=request.url.scheme == "https",
            address=request.client.host if request.client else "",
            pairs=request.query_params.multi_items(),
        )
        if secret := self.cookie(visit, "session"):
            visit.session = self._registry.sessions.find_session(
                hash_token(secret), oldest_s=self._oldest_s, now_s=int(self._now_s())
            )
        if visit.session:
            visit.secret = secret
        else:
            visit.secret = self.cookie(visit, "visitor")
            if not visit.secret:
                visit.secret = draw_cookie()
                visit.set_cookies["visitor"] = (visit.secret, _VISITOR_S)
        return visit

    @property
    def _oldest_s(self) -> int:
        return int(self._now_s()) - self._length_s

    def csrf_token(self, visit: Visit) -> str:
        """What the forms of this visit's pages must send back."""
        return self._keyring.tags("csrf", visit.secret)[0]

    def came_from_us(self, visit: Visit) -> bool:
        """Whether a form was sent from a page of ours, in this browser, by this person."""
        if visit.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return False
        origin = visit.headers.get("origin", "null")
        if origin != "null" and origin.partition("://")[2] != visit.host:
            return False
        given = visit.fields.get("csrf_token", "").encode()
        tags = self._keyring.tags("csrf", visit.secret)
        return any(hmac.compare_digest(tag.encode(), given) for tag in tags)

    def sign_in(self, visit: Visit, account: Account, *, on_the_way_to: str = "") -> None:
        """Begin a session of this person here; the one that was here ends.

        `on_the_way_to` is the request token that the sign-in was asked for, if any.
        """
        now_s = int(self._now_s())
        self._registry.sessions.end_before(self._oldest_s)
        if visit.session:
            self._registry.sessions.end_session(
                visit.session.id, account_id=visit.session.account_id
            )
        secret, session_id = draw_session()
        browser = describe_browser(visit.headers.get("user-agent", ""))
        self._registry.sessions.add_session(
            session_id, hash_token(secret), account_id=account.id, browser=browser, now_s=now_s
        )
        visit.set_cookies["session"] = (secret, self._length_s)
        visit.set_cookies["visitor"] = ("", 0)
        proof = self._keyring.tags("fresh", f"{secret}:{on_the_way_to}")[0]
        visit.set_cookies["fresh"] = (proof, _FRESH_S)
        nonce = draw_cookie()
        subject = self._registry.password_hashes.read_sign_in_subject(account.screen_name)
        proof = self._keyring.tags("browser", f"{subject}:{nonce}")[0]
        visit.set_cookies["known"] = (f"{nonce}.{proof}", _KNOWN_S)

    def signed_in_for(self, visit: Visit, request_token: str) -> bool:
        """Whether the session here was begun on the way to this request token."""
        given = self.cookie(visit, "fresh").encode()
        tags = self._keyring.tags("fresh", f"{visit.secret}:{request_token}")
        return any(hmac.compare_digest(tag.encode(), given) for tag in tags)

    def sign_out(self, visit: Visit) -> None:
        """End the session that is here."""
        if visit.session:
            self._registry.sessions.end_session(
                visit.session.id, account_id=visit.session.account_id
            )
        visit.set_cookies["session"] = ("", 0)

    def list_sessions(self, visit: Visit) -> list[Session]:
        """Where the person of this visit is signed in."""
        if visit.session is None:
            return []
        return self._registry.sessions.list_sessions(
            visit.session.account_id, oldest_s=self._oldest_s
        )

    def known_browser(self, visit: Visit, screen_name: str) -> str | None:
        """A name of this browser, if this person has signed in with it and this password before."""
        nonce, _, proof = self.cookie(visit, "known").partition(".")
        subject = self._registry.password_hashes.read_sign_in_subject(screen_name)
        tags = self._keyring.tags("browser", f"{subject}:{nonce}")
        known = [hmac.compare_digest(tag.encode(), proof.encode()) for tag in tags]
        return nonce if any(known) else None

    def close(self, visit: Visit, response: Response) -> None:
        """Set the visit's cookies on its answer."""
        for name, (value, seconds) in visit.set_cookies.items():
            response.set_cookie(
                _cookie_name(name, secure=visit.secure),
                value,
                max_age=seconds,
                path="/",
                secure=visit.secure,
                httponly=True,
                samesite="lax",
            )

    @staticmethod
    def cookie(visit: Visit, name: str) -> str:
        """What the browser sent of the cookie that `set_cookies` calls by this name, if any."""
        return visit.cookies.get(_cookie_name(name, secure=visit.secure), "")


def read_cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A request's cookies by name, exactly as browsers tell names apart.

    A more lenient reader would take what another host of the domain has planted, with a stray byte
    that browsers do not see as white space, for ours. One that comes twice counts as not there.
    """
    sent = [value for name, value in headers if name == b"cookie"]
    parts = [part.strip(b" \t") for part in b";".join(sent).split(b";")]
    pairs = (part.partition(b"=") for part in parts)
    return given_once((name.decode("latin-1"), value.decode("latin-1")) for name, _, value in pairs)


def _cookie_name(name: str, *, secure: bool) -> str:
    # Under TLS the prefix keeps other hosts of the domain from planting a cookie of this name.
    return f"__Host-oe_{name}" if secure else f"oe_{name}"
