"""The second factor: no code works twice, guesses are limited, and no way in goes around it."""

import re
from urllib.parse import urlsplit

import pytest

from openengagement.sign_in.second_factor import GUESSES, RECOVERY_CODES
from support.authenticator import code_now, wrong_code
from support.flows import CALLBACK, PASSWORD, set_password
from support.oauth_server import start_oauth_server, stay_in_window
from support.stores import query_registry

SECURITY = "/settings/security"
FACTOR = f"{SECURITY}/second-factor"
CODE = "/sign-in/code"
_NAMES = iter(range(10_000))


@pytest.fixture(scope="module")
def server(world):
    with start_oauth_server(world, workers=2, managers_need_second_factor="true") as made:
        yield made


@pytest.fixture
def newcomer(server):
    """A new account with a password, signed in."""
    number = next(_NAMES)
    name = f"factor{number}"
    server.server.command("account", "add", name, "--id", str(70_000 + number))
    set_password(server.server, name)
    with server.person(name) as person:
        person.sign_in()
        yield person


@pytest.fixture
def secured(server, newcomer):
    """A new account with a second factor: the person, the secret and the recovery codes."""
    secret, codes = turn_on(newcomer)
    forget_steps(server)
    return newcomer, secret, codes


def turn_on(person, *, password=PASSWORD):
    page = person.open(FACTOR)
    secret = page.text("secret")
    page = submit_factor(person, page, password=password, code=code_now(secret))
    assert page.status == 200, page
    groups = page.text("codes").split()
    return secret, [" ".join(groups[at : at + 4]) for at in range(0, len(groups), 4)]


def submit_factor(person, page, **fields):
    return person.submit(page, page.form_with("password", action=FACTOR), **fields)


def forget_steps(server):
    """Let the codes of now be used again, because a test cannot wait for the next ones."""
    query_registry(server.server.data, "UPDATE second_factors SET last_step = 0")


def begin(person, return_to="/sign-in"):
    """Sign in with the password; return the page for the code."""
    page = person.sign_in(person.open(return_to))
    assert urlsplit(page.url).path == CODE, page
    return page


def finish(person, page, code):
    return person.submit(page, page.form_with("code"), code=code)


def is_in(person):
    return urlsplit(person.open(SECURITY).url).path == SECURITY


def audited(server, subject):
    rows = query_registry(
        server.server.data,
        "SELECT actor, action FROM audit_log WHERE subject = ? ORDER BY id",
        subject,
    )
    return [tuple(row) for row in rows]


# Turning it on.


def test_turning_it_on_and_signing_in(server, newcomer):
    with server.person(newcomer.screen_name) as elsewhere:
        elsewhere.sign_in()
        secret, codes = turn_on(newcomer)
        assert len(set(codes)) == RECOVERY_CODES
        assert not is_in(elsewhere)  # signed in without the factor
        assert is_in(newcomer)
        # The codes are shown once.
        assert "recovery-codes" not in newcomer.open(SECURITY).html
        assert codes[0] not in newcomer.open(SECURITY).html
        forget_steps(server)
        page = begin(elsewhere)
        assert not is_in(elsewhere)
        assert finish(elsewhere, page, code_now(secret)).status == 200
        assert is_in(elsewhere)
    assert audited(server, newcomer.screen_name) == [(newcomer.screen_name, "second_factor_on")]


def test_the_secret_is_encrypted_and_codes_are_hashed(server, secured):
    person, secret, codes = secured
    account_id = 70_000 + int(person.screen_name.removeprefix("factor"))
    ((stored,),) = query_registry(
        server.server.data, "SELECT secret FROM second_factors WHERE account_id = ?", account_id
    )
    plain = secret.replace(" ", "").encode()
    assert plain not in bytes(stored)
    hashes = query_registry(
        server.server.data, "SELECT code_hash FROM recovery_codes WHERE account_id = ?", account_id
    )
    assert len(hashes) == RECOVERY_CODES
    for (each,) in hashes:
        assert len(bytes(each)) == 32
        assert not any(code.replace(" ", "").encode() in bytes(each) for code in codes)


@pytest.mark.parametrize("beside", [-1, 1])
def test_clocks_may_differ_by_one_step(server, newcomer, beside):
    page = newcomer.open(FACTOR)
    code = code_now(page.text("secret"), beside=beside)
    # At the end of a step, the earlier code is two steps old when it arrives.
    answers = [submit_factor(newcomer, page, password=PASSWORD, code=code)]
    if answers[0].status == 403:
        code = code_now(page.text("secret"), beside=beside)
        answers.append(submit_factor(newcomer, answers[0], password=PASSWORD, code=code))
    assert answers[-1].status == 200


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "\u0661" * 6, "x" * 40])
def test_texts_that_are_no_codes(newcomer, code):
    page = submit_factor(newcomer, newcomer.open(FACTOR), password=PASSWORD, code=code)
    assert page.status == 403
    assert "This code is not valid" in page.html
    assert "Off" in newcomer.open(SECURITY).html


def test_turning_it_on_needs_the_password(newcomer):
    page = newcomer.open(FACTOR)
    code = code_now(page.text("secret"))
    page = submit_factor(newcomer, page, password="not the password", code=code)
    assert page.status == 403
    assert "This is not your present password" in page.html


def test_the_secret_stays_while_it_waits_and_is_gone_afterwards(secured, newcomer):
    person, secret, _ = secured
    page = person.open(FACTOR)
    assert urlsplit(page.url).path == SECURITY
    assert secret not in page.html


def test_an_account_without_a_password_gets_no_secret(server, newcomer):
    """It signs in through a provider, which has second factors of its own."""
    query_registry(
        server.server.data,
        "UPDATE accounts SET password_hash = NULL WHERE screen_name = ?",
        newcomer.screen_name,
    )
    page = newcomer.open(FACTOR)
    assert urlsplit(page.url).path == SECURITY
    assert "You sign in through a provider" in page.html


def test_nobody_else_sees_a_secret_that_waits(server, newcomer):
    """Somebody who knows the password looks before the owner turns the second factor on."""
    with server.person(newcomer.screen_name) as attacker:
        attacker.sign_in()
        seen = attacker.open(FACTOR).text("secret")
        planted = attacker.http.cookies["oe_factor"]
        newcomer.http.cookies.set("oe_factor", planted, domain="127.0.0.1", path="/")
        secret, _ = turn_on(newcomer)
        assert secret != seen
        forget_steps(server)
        page = begin(attacker)
        assert finish(attacker, page, code_now(seen)).status == 403
        assert not is_in(attacker)


def test_a_new_session_gets_a_new_secret_and_the_page_says_so(newcomer):
    page = newcomer.open(FACTOR)
    assert "another secret now" not in page.html
    newcomer.sign_in(newcomer.open("/sign-in"))
    again = newcomer.open(FACTOR)
    assert again.text("secret") != page.text("secret")
    assert "another secret now" in again.html
    assert "another secret now" not in newcomer.open(FACTOR).html


def test_a_page_that_was_open_for_too_long_shows_another_secret(newcomer):
    page = newcomer.open(FACTOR)
    code = code_now(page.text("secret"))
    newcomer.http.cookies.delete("oe_factor", domain="127.0.0.1", path="/")
    again = submit_factor(newcomer, page, password=PASSWORD, code=code)
    assert (again.status, "another secret now" in again.html) == (409, True)
    assert again.text("secret") != page.text("secret")
    code = code_now(again.text("secret"))
    assert submit_factor(newcomer, again, password=PASSWORD, code=code).status == 200


def test_a_secret_in_use_does_not_wait_any_more(secured, newcomer):
    assert "oe_factor" not in newcomer.http.cookies


def test_a_waiting_secret_is_not_asked_for(server, newcomer):
    first = newcomer.open(FACTOR).text("secret")
    assert newcomer.open(FACTOR).text("secret") == first
    with server.person(newcomer.screen_name) as elsewhere:
        elsewhere.sign_in()
        assert is_in(elsewhere)


@pytest.mark.parametrize(
    ("claim", "text"), [("on", "The second factor is on"), ("password", "Your password is changed")]
)
def test_a_link_cannot_claim_what_was_not_done(newcomer, claim, text):
    assert text not in newcomer.open(f"{SECURITY}?done={claim}").html
    assert "The second factor is off." in newcomer.open(f"{SECURITY}?done=off").html


# Codes.


def test_a_code_works_once(server, secured):
    person, secret, _ = secured
    with server.person(person.screen_name) as first, server.person(person.screen_name) as second:
        pages = [begin(first), begin(second)]
        code = code_now(secret)
        assert finish(first, pages[0], code).status == 200
        page = finish(second, pages[1], code)
        assert page.status == 403
        assert "This code is not valid" in page.html
        assert not is_in(second)


def test_no_earlier_code_works_after_a_later_one(server, secured):
    person, secret, _ = secured
    with server.person(person.screen_name) as first, server.person(person.screen_name) as second:
        pages = [begin(first), begin(second)]
        earlier, later = code_now(secret), code_now(secret, beside=1)
        assert finish(first, pages[0], later).status == 200
        assert finish(second, pages[1], earlier).status == 403


def test_a_recovery_code_works_once(server, secured):
    person, _, codes = secured
    name = person.screen_name
    with server.person(name) as first, server.person(name) as second:
        written = codes[3].lower().replace(" ", "-")
        assert finish(first, begin(first), written).status == 200
        assert is_in(first)
        assert f"{RECOVERY_CODES - 1} recovery codes left" in first.open(SECURITY).html
        assert finish(second, begin(second), codes[3]).status == 403
        assert finish(second, second.open(CODE), codes[4]).status == 200
    assert audited(server, name)[1:] == [(name, "recovery_code")] * 2


def test_codes_of_others_are_refused(server, secured):
    person, _, _ = secured
    other = f"other{next(_NAMES)}"
    server.server.command("account", "add", other)
    set_password(server.server, other)
    with server.person(other) as stranger, server.person(person.screen_name) as victim:
        stranger.sign_in()
        secret, codes = turn_on(stranger)
        page = begin(victim)
        for code in (code_now(secret), codes[0]):
            assert finish(victim, page, code).status == 403
        assert not is_in(victim)


def test_guesses_are_limited(server, secured):
    person, secret, codes = secured
    most = min(GUESSES.values())
    stay_in_window()  # what is refused must stay refused to the end of the test
    with server.person(person.screen_name) as attacker:
        page = begin(attacker)
        wrong = wrong_code(secret)
        # A window may end meanwhile, so the guesses span two of them.
        answers = (finish(attacker, page, wrong) for _ in range(2 * most + 1))
        refused = next(answer for answer in answers if answer.status != 403)
        assert refused.status == 429
        assert int(refused.response.headers["retry-after"]) > 0
        assert "There were too many codes" in refused.html
        # Not even a right one is looked at then.
        for right in (code_now(secret), codes[0]):
            assert finish(attacker, page, right).status == 429
        assert not is_in(attacker)
    # A new first step begins no new count.
    with server.person(person.screen_name) as attacker:
        assert finish(attacker, begin(attacker), code_now(secret)).status == 429


# Ways around it.


def test_no_page_opens_after_the_first_step(server, secured):
    person, _, _ = secured
    with server.person(person.screen_name) as half:
        begin(half)
        assert "oe_session" not in half.http.cookies
        for path in ("/settings/apps", SECURITY, FACTOR, "/portal", "/overview"):
            assert urlsplit(half.open(path).url).path == "/sign-in", path


def test_the_page_needs_the_first_step(server):
    with server.person() as visitor:
        assert urlsplit(visitor.open(CODE).url).path == "/sign-in"
        form = dict(visitor.open("/sign-in").form_with("password").fields)
        answer = visitor.http.post(
            f"{server.url}{CODE}", data={"csrf_token": form["csrf_token"], "code": "000000"}
        )
        assert answer.headers["location"] == "/sign-in"


@pytest.mark.parametrize("cookie", ["x", "gAAAAA", "\u00e9".encode("latin-1").decode("latin-1")])
def test_a_forged_first_step(server, cookie):
    with server.person() as visitor:
        headers = {"cookie": f"oe_step={cookie}".encode("latin-1")}
        answer = visitor.http.get(f"{server.url}{CODE}", headers=headers)
        assert answer.headers["location"] == "/sign-in"


def test_a_session_cookie_is_no_first_step(server, secured):
    """Each sealed cookie has a type: one of another kind does not open."""
    person, _, _ = secured
    with server.person(person.screen_name) as half:
        begin(half)
        step = half.http.cookies["oe_step"]
        for name in ("session", "once", "known", "fresh"):
            half.http.cookies.set(f"oe_{name}", step, domain="127.0.0.1", path="/")
        assert not is_in(half)


def test_a_new_password_ends_the_first_step(server, secured):
    person, secret, _ = secured
    with server.person(person.screen_name) as half:
        page = begin(half)
        set_password(server.server, person.screen_name, "another 40 lanterns")
        answer = finish(half, page, code_now(secret))
        assert urlsplit(answer.url).path == "/sign-in"
        assert not is_in(half)


def test_a_form_of_another_site_is_refused(server, secured):
    person, secret, _ = secured
    with server.person(person.screen_name) as half:
        begin(half)
        answer = half.http.post(f"{server.url}{CODE}", data={"code": code_now(secret)})
        assert answer.status_code == 403
        assert not is_in(half)
    for path in (FACTOR, f"{FACTOR}/off", f"{SECURITY}/password"):
        assert person.http.post(f"{server.url}{path}", data={"code": "1"}).status_code == 403


def test_consent_comes_after_the_second_step(server, secured):
    person, secret, _ = secured
    asking = server.request_token(server.web, CALLBACK)
    with server.person(person.screen_name) as half:
        page = half.sign_in(half.open(server.consent_url(asking)))
        assert urlsplit(page.url).path == CODE
        assert half.http.get(server.consent_url(asking)).status_code == 303
        page = finish(half, page, code_now(secret))
        assert urlsplit(page.url).path == "/oauth/authorize"
        assert "oauth_verifier" in half.answer(page, "authorize").left_for


def test_force_login_asks_for_both_steps(server, secured):
    person, secret, _ = secured
    asking = server.request_token(server.web, CALLBACK)
    url = f"{server.consent_url(asking)}&force_login=true"
    page = person.open(url)
    assert urlsplit(page.url).path == "/sign-in"
    page = person.sign_in(page)
    assert urlsplit(page.url).path == CODE
    page = finish(person, page, code_now(secret))
    assert urlsplit(page.url).path == "/oauth/authorize"


# Turning it off.


def turn_off(person, **fields):
    page = person.open(SECURITY)
    return person.submit(page, page.form_with("code"), **fields)


def test_turning_it_off_needs_both(server, secured):
    person, secret, codes = secured
    refused = turn_off(person, password="not the password", code=code_now(secret))
    assert (refused.status, "not your present password" in refused.html) == (403, True)
    refused = turn_off(person, password=PASSWORD, code=wrong_code(secret))
    assert (refused.status, "This code is not valid" in refused.html) == (403, True)
    page = turn_off(person, password=PASSWORD, code=codes[0])
    assert "The second factor is off" in page.html
    with server.person(person.screen_name) as elsewhere:
        elsewhere.sign_in()
        assert is_in(elsewhere)
    # The old secret and codes are of no use any more.
    fresh, _ = turn_on(person)
    assert fresh != secret
    assert audited(server, person.screen_name)[-2:] == [
        (person.screen_name, "second_factor_off"),
        (person.screen_name, "second_factor_on"),
    ]


def test_an_operator_removes_it(server, secured):
    person, _, _ = secured
    name = person.screen_name
    removed = server.server.command("account", "remove-second-factor", name, "--yes")
    assert removed == {"screen_name": name, "second_factor": False}
    with server.person(name) as elsewhere:
        elsewhere.sign_in()
        assert is_in(elsewhere)
    assert audited(server, name)[-1] == ("command line", "second_factor_off")
    assert server.server.command("account", "show", name)["second_factor"] is False


def test_erasing_an_account_removes_it(server, secured):
    person, _, _ = secured
    server.server.command("account", "remove", person.screen_name, "--yes")
    account_id = 70_000 + int(person.screen_name.removeprefix("factor"))
    for table in ("second_factors", "recovery_codes"):
        query = f"SELECT count(*) FROM {table} WHERE account_id = ?"
        assert query_registry(server.server.data, query, account_id) == [(0,)]


# Managers.


def test_managers_need_it_where_the_setting_says_so(server, newcomer):
    server.server.command("account", "role", newcomer.screen_name, "manager")
    for path in ("/manage", "/manage/audit", "/manage/usage.csv", "/manage/keys"):
        page = newcomer.open(path)
        assert urlsplit(page.url).path == SECURITY, path
        assert "console needs a second factor" in page.html
    form = dict(newcomer.open(SECURITY).form_with(action="/sign-out").fields)
    answer = newcomer.http.post(f"{server.url}/manage/keys", data=form)
    assert answer.status_code == 303
    _, codes = turn_on(newcomer)
    assert urlsplit(newcomer.open("/manage").url).path == "/manage"
    log = re.sub(r"\s+", " ", newcomer.open("/manage/audit").html)
    assert "turned on the second factor" in log
    turn_off(newcomer, password=PASSWORD, code=codes[0])
    assert urlsplit(newcomer.open("/manage").url).path == SECURITY
