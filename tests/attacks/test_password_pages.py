"""A password is changed by its owner only, and reset only with a link from the owner's mail."""

import email
import email.policy
import re
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from openengagement.portal.password_reset import PER_ACCOUNT
from openengagement.sign_in.passwords import PER_ACCOUNT_AND_NETWORK
from support.flows import PASSWORD, set_password
from support.oauth_server import TOTALS, start_oauth_server
from support.receiver import Inbox, mail_server
from support.stores import query_registry
from support.waiting import wait_for

SECURITY = "/settings/security"
CHANGE = f"{SECURITY}/password"
RESET = "/sign-in/reset"
NEW = "another 40 lanterns"
PUBLIC = "https://engagement.example.com"
_NUMBERS = iter(range(10_000))


@pytest.fixture(scope="module")
def inbox():
    return Inbox()


@pytest.fixture(scope="module")
def server(world, inbox):
    with (
        mail_server(inbox) as port,
        start_oauth_server(
            world,
            workers=2,
            smtp_server=f"smtp://127.0.0.1:{port}",
            mail_from="engagement@example.com",
            mail_to="manager@example.com",
            public_url=PUBLIC,
        ) as made,
    ):
        yield made


@pytest.fixture
def ana(server, inbox):
    """A new account with a password and a mail address, signed in."""
    number = next(_NUMBERS)
    name = f"ana{number}"
    address = f"{name}@example.org"
    server.server.command("account", "add", name, "--id", str(60_000 + number), "--mail", address)
    set_password(server.server, name)
    with server.person(name) as person:
        person.sign_in()
        yield SimpleNamespace(
            person=person, name=name, id=60_000 + number, mails=lambda: mails_to(inbox, address)
        )


def mails_to(inbox, address):
    found = [mail.content for mail in inbox.mails if mail.receivers == [address]]
    return [email.message_from_bytes(each, policy=email.policy.default) for each in found]


def wait_for_mail(account, *, many=1):
    wait_for(lambda: len(account.mails()) >= many)
    return account.mails()[many - 1]


def change(person, password=PASSWORD, new=NEW):
    page = person.open(SECURITY)
    form = page.form_with("new_password", action=CHANGE)
    return person.submit(page, form, password=password, new_password=new)


def ask(person, screen_name):
    page = person.open(RESET)
    return person.submit(page, page.form_with("screen_name"), screen_name=screen_name)


def link_in(mail):
    (found,) = re.findall(rf"{PUBLIC}(/sign-in/new-password\?token=\S+)", mail.get_content())
    return found


def set_new(person, link, new=NEW):
    page = person.open(link)
    if page.status != 200:
        return page
    return person.submit(page, page.form_with("new_password"), new_password=new)


def is_in(person):
    return urlsplit(person.open(SECURITY).url).path == SECURITY


def can_sign_in(server, name, password):
    with server.person(name, password) as person:
        return person.sign_in().status == 200 and is_in(person)


# Changing it.


def test_a_change_ends_every_other_session(server, ana):
    with server.person(ana.name) as elsewhere:
        elsewhere.sign_in()
        before = ana.person.http.cookies["oe_session"]
        page = change(ana.person)
        assert "Your password is changed" in page.html
        assert is_in(ana.person)
        assert ana.person.http.cookies["oe_session"] != before
        assert not is_in(elsewhere)
    assert can_sign_in(server, ana.name, NEW)
    assert not can_sign_in(server, ana.name, PASSWORD)
    mail = wait_for_mail(ana)
    assert mail["subject"] == "[Open Engagement] Your password was changed"
    assert f"@{ana.name}" in mail.get_content()
    rows = "SELECT actor, action FROM audit_log WHERE account_id = ? ORDER BY id"
    assert [tuple(row) for row in query_registry(server.server.data, rows, ana.id)] == [
        (ana.name, "change_password")
    ]


def test_a_change_revokes_access_tokens(server, ana):
    app = server.access_token_of(ana.person, server.web)
    assert server.call(TOTALS, app, method="GET").status != 401
    change(ana.person)
    assert server.verify_credentials(app).status == 401


@pytest.mark.parametrize("given", ["not the password", "", PASSWORD + " ", "x" * 2000])
def test_a_change_needs_the_present_password(server, ana, given):
    page = change(ana.person, password=given)
    assert page.status == 403
    assert "This is not your present password" in page.html
    assert can_sign_in(server, ana.name, PASSWORD)
    assert is_in(ana.person)


@pytest.mark.parametrize("new", ["", "short", "x" * 1025])
def test_passwords_that_are_too_short_or_long(server, ana, new):
    page = change(ana.person, new=new)
    assert page.status == 400
    assert "Write a password of 8 to 1,024 characters" in page.html
    assert is_in(ana.person)


def test_guesses_of_the_present_password_are_limited(ana):
    """A stranger at an open session may guess no more than at the sign-in."""
    answers = (change(ana.person, password="guess") for _ in range(2 * PER_ACCOUNT_AND_NETWORK + 1))
    refused = next(each for each in answers if each.status != 403)
    assert refused.status == 429
    assert "too many attempts" in refused.html


def test_a_change_of_another_site_is_refused(server, ana):
    fields = {"password": PASSWORD, "new_password": NEW}
    answer = ana.person.http.post(f"{server.url}{CHANGE}", data=fields)
    assert answer.status_code == 403
    assert can_sign_in(server, ana.name, PASSWORD)


# Resetting it.


def test_a_reset(server, ana):
    with server.person(ana.name) as stranger:
        page = ask(stranger, f"@{ana.name.upper()}")
        assert page.status == 200
        link = link_in(wait_for_mail(ana))
        assert is_in(ana.person)  # nothing has happened yet
        page = set_new(stranger, link)
        assert urlsplit(page.url).path == "/sign-in"
        assert "Your new password is set" in page.html
        assert not is_in(stranger)  # a link signs nobody in
        assert not is_in(ana.person)
        # It works once.
        again = set_new(stranger, link, new="yet another one")
        assert again.status == 403
        assert "This link has ended" in again.html
    assert can_sign_in(server, ana.name, NEW)
    assert wait_for_mail(ana, many=2)["subject"].endswith("Your password was changed")


def test_the_token_is_hashed(server, ana):
    with server.person() as stranger:
        ask(stranger, ana.name)
    token = link_in(wait_for_mail(ana)).partition("token=")[2]
    ((stored,),) = query_registry(
        server.server.data, "SELECT token_hash FROM password_resets WHERE account_id = ?", ana.id
    )
    assert len(bytes(stored)) == 32
    assert token.encode() not in bytes(stored)


def test_the_link_is_of_this_server_whatever_the_host(server, ana):
    """The Host header of a request is anybody's text, so no mail repeats it."""
    with server.person() as stranger:
        page = stranger.open(RESET)
        fields = dict(page.form_with("screen_name").fields) | {"screen_name": ana.name}
        headers = {"host": "evil.example", "x-forwarded-host": "evil.example"}
        stranger.http.post(f"{server.url}{RESET}", data=fields, headers=headers)
        ask(stranger, ana.name)
    mail = wait_for_mail(ana)
    assert "evil.example" not in mail.get_content()
    assert f"\n{PUBLIC}/" in mail.get_content().replace("\r", "")


def test_the_answer_does_not_tell_who_has_an_account(server, ana):
    def shown(name):
        with server.person() as stranger:
            page = ask(stranger, name)
        text = re.sub(r'value="[^"]*"', "", page.html.replace(name, "NAME"))
        return page.status, text

    server.server.command("account", "add", "mailless")
    set_password(server.server, "mailless")
    assert shown(ana.name) == shown("nobody") == shown("mailless")
    assert shown("a\r\nBcc: thief@example.com")[0] == 200


def test_a_newer_link_ends_the_older_one(server, ana):
    with server.person() as stranger:
        ask(stranger, ana.name)
        older = link_in(wait_for_mail(ana))
        ask(stranger, ana.name)
        newer = link_in(wait_for_mail(ana, many=2))
        assert set_new(stranger, older).status == 403
        assert set_new(stranger, newer).status == 200


@pytest.mark.parametrize("way", ["old", "mail", "password", "erased"])
def test_links_that_have_ended(server, ana, way):
    with server.person() as stranger:
        ask(stranger, ana.name)
        link = link_in(wait_for_mail(ana))
        page = stranger.open(link)
        assert page.status == 200
        if way == "old":
            query_registry(
                server.server.data,
                "UPDATE password_resets SET created_at_s = created_at_s - 1801",
            )
        elif way == "mail":
            server.server.command("account", "mail", ana.name, "other@example.org")
        elif way == "password":
            set_password(server.server, ana.name, "set by the operator")
        else:
            server.server.command("account", "remove", ana.name, "--yes")
        form = page.form_with("new_password")
        assert stranger.submit(page, form, new_password=NEW).status == 403
        assert stranger.open(link).status == 403
    assert not can_sign_in(server, ana.name, NEW)


def test_two_uses_of_a_link_at_the_same_time(server, ana):
    """Only one of them sets its password, whichever worker it reaches."""
    with server.person() as first, server.person() as second:
        ask(first, ana.name)
        link = link_in(wait_for_mail(ana))
        pages = [first.open(link), second.open(link)]
        answers = [
            person.submit(page, page.form_with("new_password"), new_password=f"{NEW} {at}")
            for at, (person, page) in enumerate(zip((first, second), pages, strict=True))
        ]
    assert [answer.status for answer in answers] == [200, 403]
    assert can_sign_in(server, ana.name, f"{NEW} 0")


@pytest.mark.parametrize("token", ["", "x", "\u00e9", "a" * 43])
def test_tokens_that_never_were(server, token):
    with server.person() as stranger:
        assert stranger.open(f"/sign-in/new-password?token={token}").status == 403
        form = dict(stranger.open("/sign-in").form_with("password").fields)
        fields = {"csrf_token": form["csrf_token"], "token": token, "new_password": NEW}
        answer = stranger.http.post(f"{server.url}/sign-in/new-password", data=fields)
        assert answer.status_code == 403


def test_an_unfit_password_does_not_use_the_link(server, ana):
    with server.person() as stranger:
        ask(stranger, ana.name)
        link = link_in(wait_for_mail(ana))
        page = set_new(stranger, link, new="short")
        assert page.status == 400
        assert "Write a password of 8 to 1,024 characters" in page.html
        assert set_new(stranger, link).status == 200


def test_links_are_limited(server, ana):
    with server.person() as stranger:
        answers = (ask(stranger, ana.name) for _ in range(2 * PER_ACCOUNT + 1))
        refused = next(each for each in answers if each.status != 200)
        assert refused.status == 429
        assert int(refused.response.headers["retry-after"]) > 0
        # The same for a name that nobody has.
        nobody = f"nobody{next(_NUMBERS)}"
        answers = (ask(stranger, nobody) for _ in range(2 * PER_ACCOUNT + 1))
        assert next(each for each in answers if each.status != 200).status == 429


def test_managers_without_a_second_factor_get_no_link(server, inbox, ana):
    """A platform key sets mail addresses, and must not open the console."""
    server.server.command("account", "role", ana.name, "manager")
    server.server.command("account", "add", "next", "--mail", "next@example.org")
    set_password(server.server, "next")
    with server.person() as stranger:
        assert ask(stranger, ana.name).status == 200
        # The account is looked up in the background, before that of the next letter.
        ask(stranger, "next")
        wait_for(lambda: mails_to(inbox, "next@example.org"))
        server.server.command("account", "role", ana.name, "member")
        ask(stranger, ana.name)
    wait_for_mail(ana)
    assert len(ana.mails()) == 1
    assert link_in(ana.mails()[0])
    # A link that was sent before the account became a manager is of no use either.
    server.server.command("account", "role", ana.name, "manager")
    with server.person() as stranger:
        assert stranger.open(link_in(ana.mails()[0])).status == 403


def test_without_mail_the_page_says_whom_to_ask(oauth):
    with oauth.person() as stranger:
        page = stranger.open(RESET)
        assert "Ask the operator" in page.html
        assert not any("screen_name" in form.names for form in page.forms)
        form = dict(stranger.open("/sign-in").form_with("password").fields)
        fields = {"csrf_token": form["csrf_token"], "screen_name": "alice"}
        answer = stranger.http.post(f"{oauth.url}{RESET}", data=fields)
        assert answer.status_code == 403


def test_without_mail_a_password_can_be_changed(oauth):
    oauth.server.command("account", "add", "plain")
    set_password(oauth.server, "plain")
    with oauth.person("plain") as person:
        person.sign_in()
        assert "Your password is changed" in change(person).html
