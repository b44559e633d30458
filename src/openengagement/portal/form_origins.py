"""Where a form comes from: this site or another one, and which page for which account.

Every form that is made for a signed-in person carries a proof of its page and account, as part of
its CSRF token. The proof outlives the session. It never makes a form acceptable: it only allows to
show the form again (`kept_forms`).
"""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from openengagement.auth.keyring import Keyring
from openengagement.portal.page_request import PageRequest

_PAGE_LENGTH_MAX: Final = 2000  # `sign_in.local_path` accepts a little more
_PARTS: Final = 3  # of a token: CSRF tag, account and page, tag of account and page


@dataclass(frozen=True, slots=True)
class FormOrigin:
    """The account that a form was made for, and the path and query of the form's page."""

    account_id: int
    page: str


class FormOrigins:
    """Makes and reads the proofs of origin."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def prove(self, request: PageRequest) -> str:
        """Return the proof for the forms of this request's page; empty if nobody is signed in."""
        if request.session is None:
            return ""
        text = f"{request.session.account_id}:{page_of(request)}"
        return f"{urlsafe_b64encode(text.encode()).decode()}.{self._tags(text)[0]}"

    def read(self, request: PageRequest) -> FormOrigin | None:
        """Return the origin of a posted form; None if its proof is missing or false."""
        parts = request.fields.get("csrf_token", "").split(".")
        if len(parts) != _PARTS:
            return None
        try:
            text = urlsafe_b64decode(parts[1].encode()).decode()
        except (binascii.Error, UnicodeError):
            return None
        if not any(
            hmac.compare_digest(tag.encode(), parts[2].encode()) for tag in self._tags(text)
        ):
            return None
        account_id, _, page = text.partition(":")
        return FormOrigin(int(account_id), page)

    def _tags(self, text: str) -> list[str]:
        return self._keyring.tags("form", text)


def page_of(request: PageRequest) -> str:
    """Return the path and query of a request; without a query that is too long to be kept."""
    # Two slashes in front would lead to another site.
    path = f"/{quote(request.path).lstrip('/')}"
    page = f"{path}?{urlencode(request.query_pairs)}" if request.query_pairs else path
    return page if len(page) <= _PAGE_LENGTH_MAX else path


def may_be_from_here(request: PageRequest) -> bool:
    """Tell whether the browser's headers allow that a form was sent from a page of this server."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin", "null")
    return origin == "null" or origin.partition("://")[2] == request.host


def is_from_here(request: PageRequest) -> bool:
    """Tell whether the browser's headers prove that a form was sent from a page of this server.

    Browsers without `Sec-Fetch-Site` prove it with `Origin`. A missing header proves nothing.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        return request.headers.get("origin") == request.origin
    return site == "same-origin" and may_be_from_here(request)
