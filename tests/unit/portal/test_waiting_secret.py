"""The secret of a second factor waits for its first code in one session, and not for long."""

from types import SimpleNamespace

import pytest

from openengagement.auth.keyring import Keyring, generate_key
from openengagement.portal.waiting_secret import LIFETIME_S, WaitingSecrets

NOW_S = 1_795_342_500


class Browser:
    """A request, with the cookie of the answer before."""

    def __init__(self, session_id="s", cookie=""):
        self.session = SimpleNamespace(id=session_id) if session_id else None
        self.set_cookies = {}
        self._cookie = cookie

    def cookie(self, name):
        return self._cookie if name == "factor" else ""


@pytest.fixture
def keyring():
    return Keyring([generate_key().encode()])


def waiting(keyring, now_s=NOW_S):
    return WaitingSecrets(keyring, now_s=lambda: now_s)


def test_a_secret_waits_in_its_session(keyring):
    browser = Browser()
    secret = waiting(keyring).draw(browser)
    cookie, seconds = browser.set_cookies["factor"]
    assert (seconds, secret in cookie) == (LIFETIME_S, False)
    assert waiting(keyring).read(Browser("s", cookie)) == secret
    for other in (Browser("another", cookie), Browser("", cookie), Browser("s", "x"), Browser()):
        assert waiting(keyring).read(other) is None
        assert waiting(keyring).is_over(other) == bool(other.cookie("factor"))
    assert not waiting(keyring).is_over(Browser("s", cookie))
    waiting(keyring).forget(browser)
    assert browser.set_cookies["factor"] == ("", 0)


@pytest.mark.parametrize(
    ("later_s", "there"), [(LIFETIME_S, True), (LIFETIME_S + 1, False), (-1, False)]
)
def test_it_does_not_wait_for_long(keyring, later_s, there):
    browser = Browser()
    secret = waiting(keyring).draw(browser)
    later = Browser("s", browser.set_cookies["factor"][0])
    assert waiting(keyring, NOW_S + later_s).read(later) == (secret if there else None)


def test_each_secret_is_another_one(keyring):
    assert len({waiting(keyring).draw(Browser()) for _ in range(9)}) == 9
