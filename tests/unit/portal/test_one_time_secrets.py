"""Secrets that one page passes to the next: for one session, one subject and one minute."""

from types import SimpleNamespace

import msgspec
import pytest
from cryptography.fernet import Fernet

from openengagement.auth.keyring import Keyring
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest
from support.cases import cases

NOW_S = 1_795_342_500
SECRETS = {"consumer_key": "kkkk", "consumer_secret": "s" * 16}
OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


class Clock:
    def __init__(self):
        self.now_s = NOW_S + 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def one_time_secrets(clock):
    return open_with(clock, OLD)


def open_with(clock, *keys):
    keyring = Keyring(keys)
    return OneTimeSecrets(keyring, now_s=clock)


def request(cookie="", *, session="s1", secure=False):
    name = "__Host-oe_once" if secure else "oe_once"
    return PageRequest(
        path="/portal",
        params={},
        query={},
        fields={},
        cookies={name: cookie},
        headers={},
        host="127.0.0.1",
        secure=secure,
        address="127.0.0.1",
        session=SimpleNamespace(id=session) if session else None,
    )


@pytest.fixture
def parcel(one_time_secrets):
    giver = request()
    one_time_secrets.put(giver, "7", secrets=SECRETS)
    cookie, seconds = giver.set_cookies["once"]
    assert seconds == 60
    return cookie


def test_a_secret_arrives_and_its_cookie_is_deleted(one_time_secrets, parcel):
    taker = request(parcel)
    assert one_time_secrets.take(taker, "7") == SECRETS
    assert taker.set_cookies == {"once": ("", 0)}


def test_the_cookie_holds_no_readable_secret(parcel):
    assert parcel.isascii()
    assert not set(parcel) & set('";, =\\')
    assert "s" * 8 not in parcel


@pytest.mark.parametrize(
    ("session", "subject"),
    [("s2", "7"), ("", "7"), ("s1", "8"), ("s1", "77"), ("s1", ""), ("s1", ":7"), ("s1:", "7")],
)
def test_a_secret_is_for_one_session_and_one_subject(one_time_secrets, parcel, session, subject):
    taker = request(parcel, session=session)
    assert one_time_secrets.take(taker, subject) == {}
    assert taker.set_cookies == {}, "the secret stays for its own page"


def test_a_secret_expires_after_one_minute(one_time_secrets, parcel, clock):
    clock.now_s = NOW_S + 60
    assert one_time_secrets.take(request(parcel), "7") == SECRETS
    clock.now_s = NOW_S + 60.5
    assert one_time_secrets.take(request(parcel), "7") == {}
    clock.now_s = NOW_S + 86_400
    assert one_time_secrets.take(request(parcel), "7") == {}


def test_without_a_cookie_there_is_no_secret(one_time_secrets):
    taker = request()
    assert one_time_secrets.take(taker, "7") == {}
    assert taker.set_cookies == {}


@cases("bad", ["x", "=", "A" * 3, "A" * 100, "\xff\xfe", "é", "gAAAAA", "\x00", " ", "A" * 10_000])
def test_an_invalid_cookie_yields_nothing_and_is_deleted(one_time_secrets, bad):
    taker = request(bad)
    assert one_time_secrets.take(taker, "7") == {}
    assert taker.set_cookies == {"once": ("", 0)}


def test_changing_any_character_of_the_cookie_makes_it_invalid(one_time_secrets, parcel):
    for at in range(len(parcel) - 2):  # the last character may hold unused bits
        bad = parcel[:at] + ("A" if parcel[at] != "A" else "B") + parcel[at + 1 :]
        assert one_time_secrets.take(request(bad), "7") == {}, at
    for cut in range(len(parcel) - 1):
        assert one_time_secrets.take(request(parcel[:cut]), "7") == {}, cut


@cases(
    "sealed",
    [
        "a consumer secret",
        "",
        "{}",
        "[]",
        '{"type":"once"}',
        '{"type":"other","session_id":"s1","subject":"7","secrets":{},"at_s":1}',
        '{"type":"once","session_id":"s1","subject":7,"secrets":{},"at_s":1795342500}',
    ],
)
def test_a_value_sealed_for_another_purpose_is_refused(one_time_secrets, sealed):
    cookie = Keyring([OLD]).encrypt(sealed).decode().rstrip("=")
    assert one_time_secrets.take(request(cookie), "7") == {}


def test_the_sealed_value_names_its_purpose(parcel):
    """The name stops the value from being accepted as another sealed value."""
    padded = parcel + "=" * (-len(parcel) % 4)
    assert msgspec.json.decode(Keyring([OLD]).decrypt(padded.encode()))["type"] == "once"


def test_a_secret_survives_a_rotation_of_the_server_key(clock, parcel):
    assert open_with(clock, NEW, OLD).take(request(parcel), "7") == SECRETS
    assert open_with(clock, NEW).take(request(parcel), "7") == {}


def test_under_tls_the_cookie_has_the_host_prefix(one_time_secrets, parcel):
    plain = request(parcel)
    assert one_time_secrets.take(request(parcel, secure=True), "7") == SECRETS
    plain.secure = True
    assert one_time_secrets.take(plain, "7") == {}
