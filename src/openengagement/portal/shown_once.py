"""Secrets on their way to the one page that shows them.

A page that makes a secret answers with a redirect, so that loading it again makes no other; what it
made travels in a cookie that only this server can read, for one session, one subject, one minute.
The page that shows it takes the cookie away, and no browser keeps that page.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.portal.visits import Visit, Visits

_COOKIE: Final = "once"
_KEPT_S: Final = 60


class _Parcel(msgspec.Struct, frozen=True, tag="once"):
    session_id: str
    subject: str
    secrets: dict[str, str]
    at_s: int


class ShownOnce:
    """Hands secrets from one page to the next."""

    def __init__(self, visits: Visits, keyring: Keyring, *, now_s: Callable[[], float]) -> None:
        self._visits = visits
        self._sealed = Sealed(keyring, _Parcel)
        self._now_s = now_s

    def hand_over(self, visit: Visit, subject: str, *, secrets: Mapping[str, str]) -> None:
        """Give these to the next page about `subject`."""
        assert visit.session is not None, "only pages of who is signed in make secrets"
        parcel = _Parcel(visit.session.id, subject, dict(secrets), int(self._now_s()))
        visit.set_cookies[_COOKIE] = (self._sealed.seal(parcel), _KEPT_S)

    def take(self, visit: Visit, subject: str) -> Mapping[str, str]:
        """What was handed over to the page about `subject`, if anything."""
        cookie = self._visits.cookie(visit, _COOKIE)
        if not cookie or visit.session is None:
            return {}
        parcel = self._sealed.open(cookie)
        if parcel is None:
            visit.set_cookies[_COOKIE] = ("", 0)
            return {}
        meant = hmac.compare_digest(
            f"{parcel.session_id}:{parcel.subject}".encode(),
            f"{visit.session.id}:{subject}".encode(),
        )
        if not meant:  # another page's, which may still be on its way
            return {}
        visit.set_cookies[_COOKIE] = ("", 0)
        return parcel.secrets if self._now_s() - parcel.at_s <= _KEPT_S else {}
