"""The console's system, platform keys, accounts and audit search: right figures, managers only."""

from urllib.parse import parse_qs, urlsplit

import pytest

from support.cases import cases
from support.cli import call_command
from support.flows import add_manager
from support.oauth_server import FORM, start_oauth_server
from support.person import read_page
from support.ports import free_port
from support.signing import as_form

PAGES = ("/manage/system", "/manage/keys", "/manage/accounts", "/manage/audit?q=x")
EVENT = {"tweet_id": "111", "type": "favorites", "at": "2024-05-01T13:00:00Z"}


@pytest.fixture(scope="module")
def console(world):
    """Two workers that count metrics, and two managers."""
    with start_oauth_server(world, workers=2, metrics=f"127.0.0.1:{free_port()}") as made:
        for name in ("mira", "nils"):
            add_manager(made.server, name)
        yield made


def signed_in(console, name):
    person = console.person(name)
    person.sign_in()
    return person


@pytest.fixture(scope="module")
def mira(console):
    with signed_in(console, "mira") as person:
        yield person


@pytest.fixture(scope="module")
def member(console):
    with signed_in(console, "alice") as person:
        yield person


@pytest.fixture(autouse=True)
def _healthy(console):
    yield
    assert "request_failed" not in console.server.log(), console.server.log()[-2000:]


def post(person, path, fields, *, token=None):
    """Send a form as it would be sent from a page of this person."""
    if token is None:
        forms = person.open("/sign-in").forms
        token = next(v for form in forms for name, v in form.fields if name == "csrf_token")
    pairs = [*fields.items(), ("csrf_token", token)]
    answer = person.http.post(person.origin + path, content=as_form(pairs), headers=FORM)
    return read_page(answer)


def send_events(console, key, *events):
    body = list(events)
    return console.server.client.platform("POST", "events", key, body=body)


# Who may open the pages.


def test_only_managers_open_the_pages(console, member, mira):
    before = console.sql("select count(*) from platform_keys")
    for path in PAGES:
        assert member.open(path).status == 403
        assert mira.open(path).status == 200
        with console.person() as visitor:
            assert visitor.open(path).url.startswith(f"{console.url}/sign-in")
    forms = {
        "/manage/keys": {"name": "stolen", "scope_events": "on"},
        "/manage/accounts": {"account": "101", "role": "manager"},
    }
    for path, fields in forms.items():
        assert post(member, path, fields).status == 403
        assert post(mira, path, fields, token="").status == 403
        assert post(mira, path, fields, token="x").status == 403
    assert console.sql("select count(*) from platform_keys") == before
    assert console.sql("select role from accounts where id = 101") == [("member",)]


# Platform keys.


def test_an_issued_key_is_shown_once_and_works_until_it_is_revoked(console, mira):
    form = mira.open("/manage/keys").form_with("name", action="/manage/keys")
    page = mira.submit(mira.open("/manage/keys"), form, name="recorder-1", days="3")
    key = page.text("platform-key")
    console.server.secrets.append(key)
    assert key not in mira.open("/manage/keys").html
    assert send_events(console, key, EVENT).status == 200
    assert send_events(console, key, EVENT, {"tweet_id": "x"}).status == 200
    [(created, expires, scopes)] = console.sql(
        "select created_at_s, expires_at_s, scopes from platform_keys where name = 'recorder-1'"
    )
    assert (expires - created, scopes) == (3 * 86_400, None)
    assert "expires within two weeks" in mira.open("/manage/system").text("notice-list")
    [(key_hash,)] = console.sql("select key_hash from platform_keys where name = 'recorder-1'")
    key_id = key_hash.hex()[:12]
    listed = mira.open("/manage/keys")
    mira.submit(listed, listed.form_sending("revoke", key_id), revoke=key_id)
    assert send_events(console, key, EVENT).code == "platform_key_not_found"
    assert post(mira, "/manage/keys", {"revoke": key_id}).status == 404
    log = mira.open("/manage/audit?q=recorder-1").html
    for words in ("issued the platform key", "revoked the platform key", "@mira"):
        assert words in " ".join(log.replace('<bdi class="name" translate="no">', "").split())


def test_a_key_has_only_the_chosen_purposes(console, mira):
    fields = {"name": "reader", "scope_usage": "on"}
    page = post(mira, "/manage/keys", fields)
    assert page.status == 303
    key = mira.open("/manage/keys").text("platform-key")
    console.server.secrets.append(key)
    assert send_events(console, key, EVENT).code == "scope_missing"


@cases(
    ("fields", "field"),
    [
        ({"name": "", "scope_events": "on"}, "name"),
        ({"name": "x" * 129, "scope_events": "on"}, "name"),
        ({"name": "a\x07b", "scope_events": "on"}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scope_all": "on"}, "scopes"),
        ({"name": "x", "scope_events": "on", "days": "0"}, "days"),
        ({"name": "x", "scope_events": "on", "days": "36501"}, "days"),
        ({"name": "x", "scope_events": "on", "days": "soon"}, "days"),
    ],
)
def test_invalid_keys_are_refused_beside_their_field(console, mira, fields, field):
    before = console.sql("select count(*) from platform_keys")
    page = post(mira, "/manage/keys", fields)
    assert page.status == 400
    assert page.text(f"{field}-fault")
    assert console.sql("select count(*) from platform_keys") == before


def test_a_former_manager_issues_no_key(console):
    with signed_in(console, "nils") as nils:
        form = nils.open("/manage/keys")
        console.sql("update accounts set role = 'member' where screen_name_key = 'nils'")
        try:
            fields = {"name": "late", "scope_events": "on"}
            assert post(nils, "/manage/keys", fields).status == 403
        finally:
            console.sql("update accounts set role = 'manager' where screen_name_key = 'nils'")
    assert form.status == 200
    assert console.sql("select count(*) from platform_keys where name = 'late'") == [(0,)]


# Accounts.


def test_a_role_is_changed_and_recorded(console, mira):
    [(bob,)] = console.sql("select id from accounts where screen_name_key = 'bob'")
    page = mira.open("/manage/accounts?q=bob")
    assert page.text("total") == "1 account"
    for role, status in (("manager", 200), ("member", 403)):
        page = mira.open("/manage/accounts?q=bob")
        mira.submit(page, page.form_sending("role", role), role=role)
        with signed_in(console, "bob") as other:
            assert other.open("/manage").status == status
    actions = "select before, after from audit_log where account_id = ? order by id desc limit 2"
    assert console.sql(actions, bob) == [("manager", "member"), ("member", "manager")]


@pytest.mark.parametrize(
    ("language", "notice"),
    [("en", "@bob is a manager now."), ("de", "@bob hat jetzt die Rolle Manager.")],
)
def test_a_changed_role_keeps_the_search(console, mira, language, notice):
    [(bob,)] = console.sql("select id from accounts where screen_name_key = 'bob'")
    mira.http.headers["accept-language"] = language
    page = mira.open("/manage/accounts?q=bob&role=member")
    page = mira.submit(page, page.form_sending("role", "manager"), role="manager")
    query = parse_qs(urlsplit(page.url).query)
    assert query == {"q": ["bob"], "role": ["member"], "changed": [str(bob)]}
    assert dict(page.form_with("q", action="/manage/accounts").fields)["role"] == "member"
    assert page.text("notice").strip() == notice
    console.server.command("account", "role", "bob", "member")
    del mira.http.headers["accept-language"]


@pytest.mark.parametrize("account", ["", "x", "99999999"])
def test_a_link_claims_no_change_of_an_unknown_account(mira, account):
    assert "notice" not in mira.open(f"/manage/accounts?changed={account}").texts


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"account": "101", "role": "owner"}, 400),
        ({"account": "101"}, 400),
        ({"account": "99999999", "role": "member"}, 404),
        ({"account": "x", "role": "member"}, 404),
        ({"role": "member"}, 404),
    ],
)
def test_invalid_changes_of_roles_are_refused(console, mira, fields, status):
    assert post(mira, "/manage/accounts", fields).status == status


def test_managers_cannot_change_their_own_role(console, mira):
    [(own,)] = console.sql("select id from accounts where screen_name_key = 'mira'")
    page = mira.open("/manage/accounts?q=mira")
    assert not [form for form in page.forms if form.action.endswith("/manage/accounts")][1:]
    assert post(mira, "/manage/accounts", {"account": str(own), "role": "member"}).status == 409
    assert console.sql("select role from accounts where id = ?", own) == [("manager",)]


@pytest.mark.parametrize("text", ["%", "_", "%00", "<script>alert(1)</script>", "x" * 500])
def test_searches_take_text_literally(mira, text):
    for path in ("/manage/accounts", "/manage/audit"):
        answer = mira.http.get(mira.origin + path, params={"q": text})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "matches" in answer.text


# The system.


@pytest.mark.embedded  # a balancer may ask the node without metrics
def test_figures_of_the_system_are_those_of_status_and_metrics(console, mira):
    status = call_command(console.server.data, "status")
    page = mira.open("/manage/system")
    for name in ("accounts", "apps", "tweets", "platform_keys", "apps_waiting"):
        assert int(page.text(f"item-{name}").replace(",", "")) == status[name], name
    items = page.html.partition('id="items"')[2].partition("</dl>")[0]
    assert 'lang="en"' not in items, "each has a translated name"


@pytest.mark.embedded  # a balancer may ask the node without metrics
def test_ingestion_is_that_of_the_metrics(console, mira):
    fields = {"name": "recorder-2", "scope_events": "on"}
    assert post(mira, "/manage/keys", fields).status == 303
    key = mira.open("/manage/keys").text("platform-key")
    console.server.secrets.append(key)
    before = mira.open("/manage/system")
    bad = [{**EVENT, "type": "bookmark"}, {**EVENT, "at": "2999-01-01T00:00:00Z"}]
    answer = send_events(console, key, EVENT, EVENT, *bad)
    assert answer.status == 200, answer
    after = mira.open("/manage/system")

    def grown(name):
        return int(after.text(name)) - int(before.text(name))

    assert (grown("accepted"), grown("rejected")) == (2, 2)
    for reason in ("unknown_type", "in_future"):
        assert f"<code>{reason}</code>" in after.html
    assert "none yet" not in after.text("last-commit")


def test_without_metrics_the_page_says_how_to_have_them(oauth):
    add_manager(oauth.server, "greta")
    with signed_in(oauth, "greta") as person:
        page = person.open("/manage/system")
    assert page.status == 200
    assert "OPENENGAGEMENT_METRICS" in page.html
    assert "accepted" not in page.texts
