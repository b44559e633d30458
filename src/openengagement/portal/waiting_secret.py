"""The secret of a second factor that waits for its first code.

It travels in an encrypted cookie, and belongs to one session. A secret that the server kept for the
account would be shown to everybody who signs in with the password. Somebody who knows the password
could read it before its owner turns the second factor on, and then make every code.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from openengagement.auth.keyring import Keyring
from openengagement.auth.sealed import Sealed
from openengagement.portal.page_request import PageRequest
from openengagement.sign_in.second_factor import draw_secret

LIFETIME_S: Final = 3600
_COOKIE: Final = "factor"


class _Parcel(msgspec.Struct, frozen=True, tag="factor"):
    session_id: str
    secret: str
    at_s: int


class WaitingSecrets:
    """Keeps the secret of a session until its first code."""

    def __init__(self, keyring: Keyring, *, now_s: Callable[[], float]) -> None:
        self._sealed = Sealed(keyring, _Parcel)
        self._now_s = now_s

    def read(self, request: PageRequest) -> str | None:
        """Return the secret that waits in this session, None if there is none."""
        cookie, session = request.cookie(_COOKIE), request.session
        parcel = self._sealed.open(cookie) if cookie else None
        if parcel is None or session is None or parcel.session_id != session.id:
            return None
        return parcel.secret if 0 <= self._now_s() - parcel.at_s <= LIFETIME_S else None

    def is_over(self, request: PageRequest) -> bool:
        """Tell whether this browser has a secret that is too old, or of another session."""
        return bool(request.cookie(_COOKIE)) and self.read(request) is None

    def draw(self, request: PageRequest) -> str:
        """Make a new secret for this session."""
        assert request.session is not None, "the page's route demands a sign-in"
        parcel = _Parcel(request.session.id, draw_secret(), int(self._now_s()))
        request.set_cookies[_COOKIE] = (self._sealed.seal(parcel), LIFETIME_S)
        return parcel.secret

    def forget(self, request: PageRequest) -> None:
        """Remove the secret, which is in use now."""
        request.set_cookies[_COOKIE] = ("", 0)
