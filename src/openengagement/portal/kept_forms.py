"""Keep what a person typed in a form that arrived too late, and show it again.

A form arrives too late if its session has ended, or if the person has signed in again since. It is
not executed. What was typed travels in an encrypted cookie to the page that the form came from. The
cookie opens for one account and one page, for a quarter of an hour. The person checks the form and
sends it again.

Nothing is kept unless the browser proves that the form was sent from a page of this server, and the
form proves which account and page it was made for. Otherwise another site could fill in a person's
forms.
"""

import re
import zlib
from base64 import b85decode, b85encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.responses import Response

from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.portal.form_filling import fill_form
from openengagement.portal.form_origins import FormOrigins, is_from_here, page_of
from openengagement.portal.page_request import PageRequest

_COOKIE: Final = "kept"
LIFETIME_S: Final = 15 * 60
_COOKIE_MAX_BYTES: Final = 3900  # browsers drop a cookie of more than 4096 bytes with its name
# Words in the names of fields that are never kept. A test checks every field for passwords.
SECRET_FIELDS: Final = re.compile(r"password|secret|token|code|credential|otp|\bkey\b|\bpin\b")
_OK: Final = 200


class _Parcel(msgspec.Struct, frozen=True, tag="form"):
    account_id: int
    page: str
    action: str
    packed: str | None  # the fields, compressed; None if they were too long
    at_s: int


@dataclass(frozen=True, slots=True)
class KeptForm:
    """A form that waits for its person. `fields` is None if they were too long to be kept."""

    action: str
    fields: Mapping[str, str] | None


class KeptForms:
    """Keeps forms and shows them again.

    `render_note` renders the note above a form that is shown again. `header_max_bytes` is the
    server's limit for the headers of a request, cookies included.
    """

    def __init__(
        self,
        keyring: Keyring,
        *,
        render_note: Callable[[Mapping[str, object]], str],
        header_max_bytes: int,
        now_s: Callable[[], float],
    ) -> None:
        self._origins = FormOrigins(keyring)
        self._sealed = Sealed(keyring, _Parcel)
        self._render_note = render_note
        self._cookie_max_bytes = min(_COOKIE_MAX_BYTES, header_max_bytes // 2)
        self._now_s = now_s

    def keep(self, request: PageRequest) -> str | None:
        """Keep the fields of a form that was not accepted, and return the path of its page.

        Return None, and keep nothing, if the form must be refused: it may come from elsewhere, or
        was made for another account than the one that is signed in.
        """
        origin = self._origins.read(request) if is_from_here(request) else None
        if origin is None:
            return None
        if request.session is not None and request.session.account_id != origin.account_id:
            return None
        typed = {
            name: text for name, text in request.fields.items() if not SECRET_FIELDS.search(name)
        }
        at_s = int(self._now_s())
        parcel = _Parcel(origin.account_id, origin.page, request.path, _pack(typed), at_s)
        cookie = self._sealed.seal(parcel)
        if len(cookie) > self._cookie_max_bytes:
            cookie = self._sealed.seal(msgspec.structs.replace(parcel, packed=None))
        request.set_cookies[_COOKIE] = (cookie, LIFETIME_S)
        return origin.page

    def find_waiting(self, request: PageRequest, page: str) -> KeptForm | None:
        """Find the form of this page that waits until its person signs in."""
        parcel = self._open(request)
        if parcel is None or parcel.page != page:
            return None
        if request.session is not None and request.session.account_id != parcel.account_id:
            return None
        return _unpack(parcel)

    def restore(self, request: PageRequest, response: Response) -> None:
        """Fill in the form of this page that was kept for the person who is signed in."""
        if not request.cookie(_COOKIE) or request.session is None:
            return
        parcel = self._open(request)
        if parcel is None or parcel.account_id != request.session.account_id:
            request.set_cookies[_COOKIE] = ("", 0)
            return
        is_html = response.headers.get("content-type", "").startswith("text/html")
        if parcel.page != page_of(request) or response.status_code != _OK or not is_html:
            return
        request.set_cookies[_COOKIE] = ("", 0)
        kept = _unpack(parcel)
        filled = fill_form(bytes(response.body).decode(), kept.action, fields=kept.fields or {})
        note = self._render_note({"too_long": kept.fields is None, "has_form": filled.has_form})
        response.body = filled.with_note(note).encode()
        response.headers["content-length"] = str(len(response.body))

    def _open(self, request: PageRequest) -> _Parcel | None:
        cookie = request.cookie(_COOKIE)
        parcel = self._sealed.open(cookie) if cookie else None
        is_fresh = parcel is not None and 0 <= self._now_s() - parcel.at_s <= LIFETIME_S
        return parcel if is_fresh else None


def _pack(fields: Mapping[str, str]) -> str:
    return b85encode(zlib.compress(msgspec.json.encode(fields))).decode()


def _unpack(parcel: _Parcel) -> KeptForm:
    if parcel.packed is None:
        return KeptForm(parcel.action, None)
    fields = zlib.decompress(b85decode(parcel.packed))
    return KeptForm(parcel.action, msgspec.json.decode(fields, type=dict[str, str]))
