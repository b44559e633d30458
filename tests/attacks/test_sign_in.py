"""Guessing passwords: responses reveal nothing, guesses are limited, others are not locked out.

Behind the proxy, an attacker can come from any address. Most guesses are written to the limits
directly, because Argon2id would take too long for all of them.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from openengagement.portal.concurrency import client_networks
from openengagement.sign_in.passwords import WINDOW_S
from support.cases import cases
from support.flows import PASSWORD
from support.oauth_server import CROWD, REQUEST_TOKEN, run_at_once, stay_in_window
from support.person import Person
from support.waiting import PATIENCE_S, wait_for

PER_ADDRESS, PER_ACCOUNT = 50, 100
VARIES = {"date", "x-request-id"}
WRONG = "do not match"


@pytest.fixture(autouse=True)
def _one_window():
    stay_in_window(20)


class Guesser:
    """A browser without a session, at an address."""

    def __init__(self, oauth, address):
        self.browser = Person(oauth.url)
        self.browser.http.headers["X-Forwarded-For"] = address
        self.page = self.browser.open("/sign-in")
        self.form = self.page.form_with("screen_name", "password")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.browser.http.close()

    def guess(self, name, password="no such password"):
        return self.browser.submit(self.page, self.form, screen_name=name, password=password)

    def sign_out(self):
        self.browser.sign_out()
        self.page = self.browser.open("/sign-in")
        self.form = self.page.form_with("screen_name", "password")

    def statuses(self, name, times):
        return [self.guess(name).status for _ in range(times)]


@contextmanager
def guessers_at(oauth, *addresses):
    """A guesser at every address. All are closed, also after a failure."""
    with ExitStack() as stack:
        yield [stack.enter_context(Guesser(oauth, address)) for address in addresses]


def can_sign_in(oauth, name, address):
    """Whether a person who knows the password can sign in from this address."""
    with Guesser(oauth, address) as person:
        page = person.guess(name, PASSWORD)
        assert page.status in {200, 429}, page
        return page.url.endswith("/overview")


def new_account(oauth, name):
    oauth.server.command("account", "add", name)
    oauth.server.command("account", "password", name, "--stdin", stdin=f"{PASSWORD}\n")
    return name


# Responses do not reveal accounts.


def test_responses_do_not_reveal_which_accounts_exist(behind_proxy):
    """An account with a password, one without and an unknown name get the same response."""
    answers = []
    for name in ("alice", "carol", "nobod"):
        with Guesser(behind_proxy, "192.0.2.1") as guesser:
            page = guesser.guess(name)
            headers = {k: v for k, v in page.response.headers.items() if k not in VARIES}
            token = dict(guesser.form.fields)["csrf_token"]
            body = page.html.replace(name, "NAME").replace(token, "TOKEN")
            answers.append((page.status, headers, body))
    assert answers[0][0] == 403
    assert WRONG in answers[0][2]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize(
    ("name", "password", "faulty"),
    [
        ("", "", ["screen_name", "password"]),
        (" ", PASSWORD, ["screen_name"]),
        ("alice", "", ["password"]),
    ],
)
def test_an_empty_field_is_no_guess(oauth, name, password, faulty):
    with oauth.person() as person:
        page = person.open("/sign-in")
        for _ in range(12):  # more than may be guessed
            form = page.form_with("password")
            page = person.submit(page, form, screen_name=name, password=password)
            assert page.status == 400
        assert [each.removesuffix("-fault") for each in page.texts if "-fault" in each] == faulty
        assert person.sign_in(person.open("/sign-in")).url.endswith("/overview")


def test_limits_do_not_reveal_which_accounts_exist(behind_proxy):
    with Guesser(behind_proxy, "192.0.2.2") as guesser:
        for name in ("bob", "nobody"):
            behind_proxy.count_guesses(9, of="both", name=name, address="192.0.2.2")
            assert guesser.statuses(name, 2) == [403, 429]


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ALICE", "192.0.2.10"),
        ("@alice", "192.0.2.11"),
        (" alice ", "192.0.2.12"),
        ("@Alice", "192.0.2.13"),
    ],
)
def test_spellings_of_a_name_share_their_guesses(behind_proxy, name, address):
    """Otherwise every spelling would allow further guesses."""
    behind_proxy.count_guesses(10, of="both", name="alice", address=address)
    with Guesser(behind_proxy, address) as guesser:
        assert guesser.guess(name).status == 429


@pytest.mark.parametrize("name", ["@", "alice\x00", "' or '1'='1", "\u0430lice"])
def test_texts_that_are_not_screen_names(behind_proxy, name):
    with Guesser(behind_proxy, "192.0.2.20") as guesser:
        page = guesser.guess(name, PASSWORD)
    assert page.status == 403
    assert WRONG in page.html


@pytest.mark.parametrize("password", ["\x00", PASSWORD.upper(), f"{PASSWORD} "])
def test_nearly_the_password(behind_proxy, password):
    with Guesser(behind_proxy, "192.0.2.21") as guesser:
        assert guesser.guess("bob", password).status == 403


def test_a_very_long_password_costs_no_more(behind_proxy):
    with Guesser(behind_proxy, "192.0.2.22") as guesser:
        for length in (1025, 12_000):
            begun = time.monotonic()
            assert guesser.guess("bob", "x" * length).status == 403
            assert time.monotonic() - begun < PATIENCE_S
        assert guesser.guess("bob", "x" * 17_000).status == 413


# Guessing is limited.


def test_one_account_from_one_address(behind_proxy):
    behind_proxy.count_guesses(8, of="both", name="bob", address="198.51.100.1")
    with Guesser(behind_proxy, "198.51.100.1") as guesser:
        found = [guesser.guess("bob") for _ in range(3)]
        assert [page.status for page in found] == [403, 403, 429]
        assert 0 < int(found[-1].response.headers["retry-after"]) <= WINDOW_S
        assert guesser.guess("bob", PASSWORD).status == 429  # the right password too
    assert can_sign_in(behind_proxy, "bob", "198.51.100.2")


def test_at_once_on_both_workers(behind_proxy):
    behind_proxy.count_guesses(7, of="both", name="bob", address="198.51.100.3")
    with guessers_at(behind_proxy, *["198.51.100.3"] * CROWD) as guessers:
        found = run_at_once(lambda each: each.guess("bob").status, guessers)
        after = [guessers[0].guess("bob").status for _ in range(4)]
    # On each worker four guesses of one address may wait; further ones are refused and not counted.
    assert set(found) <= {403, 429, 503}
    assert found.count(403) <= 3
    assert (found + after).count(403) == 3
    assert after[-1] == 429


def test_one_password_at_many_accounts_from_one_address(behind_proxy):
    behind_proxy.count_guesses(PER_ADDRESS - 2, of="address", address="198.51.100.4")
    with Guesser(behind_proxy, "198.51.100.4") as guesser:
        found = [guesser.guess(f"victim{number}").status for number in range(4)]
    assert found == [403, 403, 429, 429]
    assert not can_sign_in(behind_proxy, "bob", "198.51.100.4")
    assert can_sign_in(behind_proxy, "bob", "198.51.100.5")


@pytest.mark.parametrize(
    ("first", "second"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::ffff:198.51.100.6", "198.51.100.6")],
)
def test_ipv6_addresses_are_counted_by_network(behind_proxy, first, second):
    """A subscriber has 2^64 IPv6 addresses. All spellings of an IPv4 address are one address."""
    behind_proxy.count_guesses(9, of="both", name="six", address=client_networks(second)[0])
    for address, status in ((first, 403), (second, 429)):
        with Guesser(behind_proxy, address) as guesser:
            assert guesser.guess("six").status == status


def test_one_account_from_many_addresses(behind_proxy):
    """They are refused, but a browser in which the person signed in before still works."""
    name = new_account(behind_proxy, "besieged")
    with Guesser(behind_proxy, "203.0.113.1") as known:
        assert known.guess(name, PASSWORD).url.endswith("/overview")
        known.sign_out()
        behind_proxy.count_guesses(PER_ACCOUNT, of="account", name=name)
        assert not can_sign_in(behind_proxy, name, "203.0.113.2")
        assert known.guess(name, PASSWORD).url.endswith("/overview")
    assert can_sign_in(behind_proxy, "bob", "203.0.113.2")


def test_guesses_from_a_known_browser_are_limited(behind_proxy):
    name = new_account(behind_proxy, "shared")
    with Guesser(behind_proxy, "203.0.113.3") as known:
        assert known.guess(name, PASSWORD).status == 200
        nonce = known.browser.http.cookies["oe_known"].partition(".")[0]
        known.sign_out()
        behind_proxy.count_guesses(9, of="browser", name=name, browser=nonce)
        assert known.statuses(name, 2) == [403, 429]
    assert can_sign_in(behind_proxy, name, "203.0.113.4")  # other browsers are not locked out


@cases("forged", ["x", "x.y", ".", "..", "", "a:b.c", "\xe9", '"\\012"'])
def test_a_forged_cookie_does_not_make_a_browser_known(behind_proxy, forged):
    behind_proxy.count_guesses(10, of="both", name="bob", address="203.0.113.50")
    with Guesser(behind_proxy, "203.0.113.50") as guesser:
        visitor = guesser.browser.http.cookies["oe_visitor"]
        cookie = f"oe_known={forged}; oe_visitor={visitor}".encode("latin-1")
        guesser.browser.http.cookies.clear()
        guesser.browser.http.headers = [*guesser.browser.http.headers.raw, (b"Cookie", cookie)]
        assert guesser.guess("bob").status == 429


def test_a_browser_known_to_one_account_is_unknown_to_another(behind_proxy):
    """Signing in to an account of one's own takes no guesses at another account back."""
    address = "203.0.113.80"
    with Guesser(behind_proxy, address) as guesser:
        assert guesser.guess("bob", PASSWORD).status == 200
        guesser.sign_out()
        behind_proxy.count_guesses(9, of="both", name="victim", address=address)
        assert guesser.statuses("victim", 2) == [403, 429]
        assert guesser.guess("bob", PASSWORD).status == 200
    with Guesser(behind_proxy, address) as guesser:
        assert guesser.guess("victim").status == 429


# Limits do not lock out others.


def test_a_stranger_who_keeps_guessing_does_not_lock_a_person_out(behind_proxy):
    """An address uses up only its own guesses at an account, however often it guesses."""
    behind_proxy.count_guesses(10, of="both", name="bob", address="203.0.113.90")
    with Guesser(behind_proxy, "203.0.113.90") as stranger:
        assert stranger.statuses("bob", PER_ACCOUNT + 5) == [429] * (PER_ACCOUNT + 5)
        assert stranger.guess("alice").status == 403  # refused guesses do not count
    assert can_sign_in(behind_proxy, "bob", "203.0.113.91")


def test_an_address_that_guesses_at_every_account_locks_out_none(behind_proxy):
    name = new_account(behind_proxy, "tried")
    behind_proxy.count_guesses(PER_ADDRESS, of="address", address="203.0.113.95")
    behind_proxy.count_guesses(PER_ACCOUNT - 2, of="account", name=name)
    with Guesser(behind_proxy, "203.0.113.95") as stranger:
        assert stranger.statuses(name, 9) == [429] * 9
    assert can_sign_in(behind_proxy, name, "203.0.113.96")


def test_successful_sign_ins_are_not_counted(behind_proxy):
    name = new_account(behind_proxy, "welcome")
    behind_proxy.count_guesses(9, of="both", name=name, address="203.0.113.92")
    for _ in range(3):
        assert can_sign_in(behind_proxy, name, "203.0.113.92")


# The address of a client.


def test_a_client_cannot_claim_another_address(oauth):
    oauth.count_guesses(9, of="both", name="forwarded", address="127.0.0.1")
    found = []
    for address in ("198.51.100.1", "198.51.100.2", "198.51.100.3"):
        with Guesser(oauth, address) as guesser:
            guesser.browser.http.headers.update(
                {"X-Real-IP": address, "Forwarded": f"for={address}", "X-Client-IP": address}
            )
            found.append(guesser.guess("forwarded").status)
    assert found == [403, 429, 429]


def test_a_client_behind_a_proxy_cannot_claim_another_address(behind_proxy):
    """The proxy appends the address it sees. Everything before it comes from the client."""
    behind_proxy.count_guesses(9, of="both", name="prepended", address="203.0.113.93")
    found = []
    for own in ("198.51.100.1", "127.0.0.1", "::1, 10.0.0.1"):
        with Guesser(behind_proxy, f"{own}, 203.0.113.93") as guesser:
            found.append(guesser.guess("prepended").status)
    assert found == [403, 429, 429]


@pytest.mark.parametrize(
    ("position", "wide", "limit", "inside"),
    [
        (1, "2001:db8:a:100::/56", 100, ("2001:db8:a:101::1", "2001:db8:a:1ff::1")),
        (2, "2001:db8:b::/48", 200, ("2001:db8:b:1::1", "2001:db8:b:ff00::1")),
    ],
)
def test_wider_ipv6_networks_have_limits_too(behind_proxy, position, wide, limit, inside):
    """Whoever has a /48 has 65,536 networks of the usual size."""
    behind_proxy.count_guesses(limit - 1, of="address", address=wide, position=position)
    with guessers_at(behind_proxy, *inside) as (first, second):
        assert first.guess("wide").status == 403
        assert second.guess("wide").status == 429


@pytest.mark.heavy
def test_strangers_who_fill_all_places_do_not_keep_known_browsers_out(behind_proxy):
    """Forty guesses at once from forty networks, on both workers, all the time."""
    name = new_account(behind_proxy, "expected")
    addresses = [f"10.9.{number}.1" for number in range(90)]
    with Guesser(behind_proxy, "203.0.113.60") as known:
        assert known.guess(name, PASSWORD).status == 200
        known.sign_out()
        done, statuses = threading.Event(), []

        def press(guesser):
            while not done.is_set():
                statuses.append(guesser.guess(f"x{len(statuses)}").status)

        with guessers_at(behind_proxy, *addresses) as strangers:
            pressing = [threading.Thread(target=press, args=(each,)) for each in strangers]
            for each in pressing:
                each.start()
            try:
                wait_for(lambda: 503 in statuses)
                for _ in range(3):
                    assert known.guess(name, PASSWORD).url.endswith("/overview")
                    known.sign_out()
            finally:
                done.set()
                for each in pressing:
                    each.join()


@pytest.mark.heavy
def test_many_sign_ins_at_once_do_not_block_other_requests(behind_proxy):
    """Argon2id runs in threads of its own, so calls are answered while guesses wait."""
    addresses = [f"203.0.113.{200 + number}" for number in range(8)]
    done = threading.Event()

    def call():
        times = []
        while not done.is_set():
            begun = time.monotonic()
            assert behind_proxy.call(REQUEST_TOKEN, behind_proxy.web).status == 200
            times.append(time.monotonic() - begun)
        return sorted(times)

    with guessers_at(behind_proxy, *addresses) as guessers, ThreadPoolExecutor(1) as pool:
        calls = pool.submit(call)
        begun = time.monotonic()
        try:
            found = run_at_once(lambda each: each.guess("crowded").status, guessers)
            took_s = time.monotonic() - begun
        finally:
            done.set()
        times = calls.result()
    assert found == [403] * len(addresses)
    assert times[len(times) // 2] < took_s / 2, "a call waits until the guesses are done"


@pytest.mark.heavy
def test_one_address_cannot_block_sign_in_for_others(behind_proxy):
    """Neither by signing in over and over with the right password, nor by guessing on."""
    behind_proxy.count_guesses(PER_ADDRESS, of="address", address="203.0.113.241")
    done = threading.Event()

    def keep_trying(guesser, name, password):
        while not done.is_set():
            guesser.guess(name, password)

    with (
        guessers_at(behind_proxy, *["203.0.113.240"] * 12) as insiders,
        guessers_at(behind_proxy, *["203.0.113.241"] * 6) as strangers,
        ThreadPoolExecutor(18) as pool,
    ):
        for each in insiders:
            pool.submit(keep_trying, each, "bob", PASSWORD)
        for each in strangers:
            pool.submit(keep_trying, each, "nobody", WRONG)
        try:
            for _ in range(4):
                assert can_sign_in(behind_proxy, "alice", "203.0.113.242")
        finally:
            done.set()
