"""Sessions of browsers: who is signed in, and which forms come from our own pages.

Every form carries a CSRF token, which proves that the form came from a page of this server in the
same browser. The token is an HMAC of a secret cookie: the session's, or a visitor's if nobody is
signed in. The server does not store it. A proof of the form's origin follows it (`form_origins`).
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Final

from starlette.requests import Request

from openengagement.auth.credentials import draw_cookie, draw_session, hash_token
from openengagement.auth.keyring import Keyring
from openengagement.engagement.permissions import Proof
from openengagement.engagement.types import DAY_S
from openengagement.portal.browsers import describe_browser
from openengagement.portal.form_origins import FormOrigins, may_be_from_here
from openengagement.portal.page_request import PageRequest, read_page_request
from openengagement.registry.accounts import Account
from openengagement.registry.registry import Registry
from openengagement.registry.sessions import NewSession, Session

_VISITOR_S: Final = DAY_S
_RECENT_S: Final = 15 * 60  # how long a sign-in satisfies the `force_login` of an app
_KNOWN_S: Final = 365 * DAY_S


class BrowserSessions:
    """Reads the requests of browsers, starts sessions in them and ends them."""

    def __init__(
        self, registry: Registry, keyring: Keyring, *, days: int, now_s: Callable[[], float]
    ) -> None:
        self._sessions = registry.sessions
        self._password_hashes = registry.password_hashes
        self._keyring = keyring
        self._origins = FormOrigins(keyring)
        self._length_s = days * DAY_S
        self._now_s = now_s

    def read(self, request: Request, fields: Mapping[str, str]) -> PageRequest:
        """Read a request and find its session. `fields` are those of the form that it posts."""
        page_request = read_page_request(request, fields)
        if secret := page_request.cookie("session"):
            page_request.session = self._sessions.find_session(
                hash_token(secret), oldest_s=self._oldest_s, now_s=int(self._now_s())
            )
        form_secret = secret if page_request.session else page_request.cookie("visitor")
        if not form_secret:
            form_secret = draw_cookie()
            page_request.set_cookies["visitor"] = (form_secret, _VISITOR_S)
        page_request.form_secret = form_secret
        return page_request

    @property
    def _oldest_s(self) -> int:
        return int(self._now_s()) - self._length_s

    def csrf_token(self, request: PageRequest) -> str:
        """Return the token that the forms of this request's page must send back."""
        tag = self._keyring.tags("csrf", request.form_secret)[0]
        proof = self._origins.prove(request)
        return f"{tag}.{proof}" if proof else tag

    def is_own_form(self, request: PageRequest) -> bool:
        """Tell whether a form was sent from a page of ours, in this browser, by this person."""
        if not may_be_from_here(request):
            return False
        given = request.fields.get("csrf_token", "").partition(".")[0]
        return self._is_tag(given, "csrf", text=request.form_secret)

    def _is_tag(self, given: str, purpose: str, *, text: str) -> bool:
        """Compare with the tag under each key, in constant time."""
        tags = self._keyring.tags(purpose, text)
        return any(hmac.compare_digest(tag.encode(), given.encode()) for tag in tags)

    def start(
        self,
        request: PageRequest,
        account: Account,
        *,
        request_token: str,
        password_hash: str | None,
        proof: Proof,
    ) -> str:
        """Start a session of this person in this browser, end the previous one, return its id.

        `request_token` names the request for consent that the sign-in belongs to, empty for none.
        `password_hash` is the hash of the password that the person signed in with, None for none.

        Raises:
            PasswordChanged: what was proven does not suffice any more.
        """
        self._sessions.end_before(self._oldest_s)
        secret, session_id = draw_session()
        browser = describe_browser(request.headers.get("user-agent", ""))
        now_s = int(self._now_s())
        new = NewSession(session_id, hash_token(secret), account.id, browser, now_s, proof)
        self._sessions.add_session(new, password_hash=password_hash)
        if request.session:
            self._sessions.end_session(request.session.id, account_id=request.session.account_id)
        request.set_cookies["session"] = (secret, self._length_s)
        request.set_cookies["visitor"] = ("", 0)
        fresh = self._keyring.tags("fresh", f"{secret}:{request_token}")[0]
        request.set_cookies["fresh"] = (fresh, _RECENT_S)
        nonce = draw_cookie()
        # Take the password that was verified: the account may have another one by now.
        subject = (
            self._password_hashes.sign_in_subject(account.id, password_hash)
            if password_hash
            else self._password_hashes.read_sign_in_subject(account.screen_name)
        )
        known = self._keyring.tags("browser", f"{subject}:{nonce}")[0]
        request.set_cookies["known"] = (f"{nonce}.{known}", _KNOWN_S)
        return session_id

    def was_started_for(self, request: PageRequest, request_token: str) -> bool:
        """Tell whether the person signed in recently, for this very request for consent."""
        text = f"{request.form_secret}:{request_token}"
        return self._is_tag(request.cookie("fresh"), "fresh", text=text)

    def end(self, request: PageRequest) -> None:
        """End the session of this browser."""
        if request.session:
            self._sessions.end_session(request.session.id, account_id=request.session.account_id)
        request.set_cookies["session"] = ("", 0)

    def list(self, request: PageRequest) -> list[Session]:
        """List every session of the person who is signed in."""
        return self._sessions.list_sessions(request.account_id, oldest_s=self._oldest_s)

    def known_browser(self, request: PageRequest, screen_name: str) -> str | None:
        """Return an id of this browser if the person with this name has signed in with it before.

        Changing the password makes every browser unknown.
        """
        nonce, _, proof = request.cookie("known").partition(".")
        text = f"{self._password_hashes.read_sign_in_subject(screen_name)}:{nonce}"
        return nonce if self._is_tag(proof, "browser", text=text) else None
