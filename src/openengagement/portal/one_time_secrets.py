"""Pass a new secret to the one page that shows it, once.

A form that makes a secret answers with a redirect, so that reloading the page makes no second one.
The secret travels to that page in an encrypted cookie, which only this server can read. The cookie
is valid for one session, one subject and one minute. The page that shows the secret deletes the
cookie.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.portal.page_request import PageRequest

_COOKIE: Final = "once"
_LIFETIME_S: Final = 60


class _Parcel(msgspec.Struct, frozen=True, tag="once"):
    session_id: str
    subject: str
    secrets: dict[str, str]
    at_s: int


class OneTimeSecrets:
    """Passes secrets from one page to the next."""

    def __init__(self, keyring: Keyring, *, now_s: Callable[[], float]) -> None:
        self._sealed = Sealed(keyring, _Parcel)
        self._now_s = now_s

    def put(
        self,
        request: PageRequest,
        subject: str,
        *,
        secrets: Mapping[str, str],
        session_id: str | None = None,
    ) -> None:
        """Pass these secrets to the next page about `subject`.

        `session_id` is that of a session that begins with this answer.
        """
        if session_id is None:
            assert request.session is not None, "only pages behind a sign-in make secrets"
            session_id = request.session.id
        parcel = _Parcel(session_id, subject, dict(secrets), int(self._now_s()))
        request.set_cookies[_COOKIE] = (self._sealed.seal(parcel), _LIFETIME_S)

    def take(self, request: PageRequest, subject: str) -> Mapping[str, str]:
        """Return the secrets for the page about `subject` and delete their cookie.

        Secrets for another page stay, because that page may still be loading.
        """
        cookie = request.cookie(_COOKIE)
        if not cookie or request.session is None:
            return {}
        parcel = self._sealed.open(cookie)
        if parcel is None:
            request.set_cookies[_COOKIE] = ("", 0)
            return {}
        if (parcel.session_id, parcel.subject) != (request.session.id, subject):
            return {}
        request.set_cookies[_COOKIE] = ("", 0)
        return parcel.secrets if self._now_s() - parcel.at_s <= _LIFETIME_S else {}
