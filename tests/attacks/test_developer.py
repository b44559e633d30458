"""The developer portal: only the owner reaches an app, and only valid settings are saved."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from support.cases import cases
from support.developer import (
    NEW,
    PORTAL,
    act,
    collect,
    create,
    keys_path,
    secrets_on,
    settings_path,
)
from support.flows import set_password
from support.oauth_server import FORM, run_at_once, start_oauth_server
from support.person import read_page
from support.signing import as_form
from support.sockets import parse_answers, request_bytes, talk

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}
GOOD = {
    "name": "Tide Tables",
    "description": "Tells when to post.",
    "website": "https://tides.example/about",
    "callbacks": "https://tides.example/return\r\nexample.tides://signed-in",
    "access_level": "read-write",
    "sign_in": "on",
}
# The columns of an app except for the times of use.
ROWS = (
    "select * from apps where id = ?",
    "select * from callbacks where app_id = ? order by position",
    "select token, secret, access_level from access_tokens where app_id = ?",
)
DANGEROUS = ("<script>alert", "<img", "<svg/", "<base", "</textarea><", "onmouseover='alert")
SCRIPTS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea><svg/onload=alert(1)>",
    "' onmouseover='alert(1)",
    "{{7919*7907}}{% raw %}",
    "</main><base href=//evil.example>",
]


@pytest.fixture(scope="module")
def app(developer):
    """An app of alice with every credential, and its bearer token."""
    return collect(developer)


@pytest.fixture(scope="module")
def app_id(app):
    return app[0].app_id


@pytest.fixture(scope="module")
def bob(many_apps):
    with many_apps.person("bob") as person:
        person.sign_in()
        yield person


@pytest.fixture
def unchanged(many_apps, app_id):
    """Check that the app is unchanged and that alice has no other app."""

    def state():
        owned = many_apps.sql("select count(*) from apps where owner_id in (101, 202)")
        return [owned, *(many_apps.sql(row, int(app_id)) for row in ROWS)]

    before = state()
    yield
    assert state() == before


def csrf_token_of(person):
    page = person.open("/sign-in")
    return next(value for form in page.forms for name, value in form.fields if name == "csrf_token")


def post(person, path, fields, **headers):
    return person.http.post(
        person.origin + path, content=as_form(list(fields.items())), headers=FORM | headers
    )


def send(person, method, path, action=None):
    """Send a request that would be valid if the owner sent it."""
    if method == "GET":
        return person.http.get(person.origin + path)
    fields = {"action": action} if action else GOOD | {"name": "Changed"}
    return post(person, path, fields | {"csrf_token": csrf_token_of(person)})


def routes(app_id):
    return [
        ("GET", PORTAL, None),
        ("GET", NEW, None),
        ("POST", NEW, None),
        *routes_of(app_id),
    ]


def routes_of(app_id):
    actions = ("regenerate_key", "regenerate_bearer", "revoke_bearer", "regenerate_token")
    return [
        ("GET", settings_path(app_id), None),
        ("POST", settings_path(app_id), None),
        ("POST", settings_path(app_id), "delete"),
        ("GET", keys_path(app_id), None),
        *(
            (method, f"{settings_path(app_id)}/{page}", None)
            for page in ("console", "callback")
            for method in ("GET", "POST")
        ),
        ("GET", f"{settings_path(app_id)}/usage", None),
        ("POST", keys_path(app_id), "regenerate_all"),
        *(("POST", keys_path(app_id), each) for each in (*actions, "revoke_token")),
    ]


# Visitors.


def test_a_visitor_is_sent_to_sign_in_and_back(many_apps, app_id, unchanged):
    for method, path, action in routes(app_id):
        with many_apps.person() as stranger:
            answer = send(stranger, method, path, action)
            assert answer.status_code == 303
            target = urlsplit(answer.headers["location"])
            assert (target.netloc, target.path) == ("", "/sign-in")
            assert parse_qs(target.query) == {"return_to": [path]}
            assert "oe_once" not in answer.headers.get("set-cookie", "")
            page = stranger.sign_in(stranger.open(answer.headers["location"]))
            assert (page.status, urlsplit(page.url).path) == (200, path)


@cases(
    "path",
    [
        "/portal?next=https://evil.example",
        "/portal?return_to=//evil.example",
        "/portal/apps/%2F%2Fevil.example",
        "/portal/apps/%5C%5Cevil.example",
        "/portal/apps/%0d%0aLocation:%20https:%2F%2Fevil.example",
        "/portal/apps/x%3Freturn_to=%2F%2Fevil.example",
        "/portal/apps/1%23%2F%2Fevil.example/keys",
        "/portal/apps/1@evil.example",
        "//evil.example/portal",
        "/portal//evil.example",
    ],
)
def test_the_return_path_stays_on_this_server(many_apps, path):
    with many_apps.person() as stranger:
        page = stranger.open(stranger.origin + path)
        assert page.left_for is None
        assert "evil" not in "".join(each for each in page.response.headers if each != "location")
        if page.status == 200:
            page = stranger.sign_in(page)
        assert page.left_for is None
        assert page.url.startswith(many_apps.url)
        assert page.status in {200, 404}


def test_a_visitor_gets_only_a_short_redirect(many_apps):
    """No database row, no Argon2id, no page."""
    count = "select (select count(*) from sessions), (select count(*) from apps)"
    before = many_apps.sql(count)
    with many_apps.person() as stranger:
        for method, path, action in routes("10000001"):
            answer = send(stranger, method, path, action)
            assert answer.status_code == 303
            assert len(answer.content) < 200
    assert many_apps.sql(count) == before


# Other accounts.


def test_another_owners_app_looks_like_no_app(app, bob, unchanged):
    """The answer is the same as for an app that does not exist."""
    for (method, path, action), nowhere in zip(
        routes_of(app[0].app_id), routes_of("99999999"), strict=True
    ):
        answer, none = send(bob, method, path, action), send(bob, *nowhere)
        assert answer.status_code == none.status_code == 404
        hint = f"{app[0].consumer_key[:4]}\N{HORIZONTAL ELLIPSIS}"  # as the keys page shows it
        for secret in (app[0].app_id, app[0].consumer_key, hint, "Tide Tables"):
            assert secret not in answer.text.replace(path, "")
        # The token of a form holds the path that was asked for.
        text, other = (
            re.sub(r'name="csrf_token" value="[^"]*"', "", a.text) for a in (answer, none)
        )
        assert text.replace(app[0].app_id, "99999999") == other


def test_a_manager_cannot_open_another_owners_app(many_apps, app_id, bob, unchanged):
    many_apps.sql("update accounts set role = 'manager' where screen_name_key = 'bob'")
    try:
        for method, path, action in routes_of(app_id):
            assert send(bob, method, path, action).status_code == 404
    finally:
        many_apps.sql("update accounts set role = 'member' where screen_name_key = 'bob'")


def test_the_list_holds_only_ones_own_apps(developer, app_id, bob):
    assert settings_path(app_id) in developer.open(PORTAL).html
    assert settings_path(app_id) not in bob.open(PORTAL).html


@pytest.mark.parametrize("form", ["none", "others", "cross-site", "twice", "kind", "origin"])
def test_forms_from_other_sites_are_refused(developer, app_id, bob, unchanged, form):
    for method, path, action in routes(app_id):
        if method == "GET":
            continue
        token = csrf_token_of(bob if form == "others" else developer)
        fields = {"action": action} if action else GOOD
        pairs = [*fields.items(), ("csrf_token", "" if form == "none" else token)]
        headers = {
            "cross-site": {"Sec-Fetch-Site": "cross-site"},
            "origin": {"Origin": "https://evil.example"},
            "kind": {"Content-Type": "text/plain"},
        }.get(form, {})
        sent = as_form([*pairs, pairs[-1]] if form == "twice" else pairs)
        answer = developer.http.post(developer.origin + path, content=sent, headers=FORM | headers)
        assert answer.status_code == 403
        assert "The form was not accepted" in answer.text


def test_a_get_request_changes_nothing(developer, app_id, unchanged):
    sent = as_form(
        [*GOOD.items(), ("csrf_token", csrf_token_of(developer)), ("action", "revoke_token")]
    )
    for path in (NEW, settings_path(app_id), keys_path(app_id)):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = developer.http.request(method, f"{developer.origin}{path}?{sent}")
            assert answer.status_code in {200, 405}
            assert "oe_once" not in answer.headers.get("set-cookie", "")


# URLs.


@cases(
    "name",
    [
        *("0", "-{}", "+{}", "%20{}", "{}%20", "{}.0", "0x989681", "1e7", "0{}", "{}%00", "{};x"),
        *("9223372036854775808", "9" * 19, "9" * 400, "%D9%A1%D9%A0", "%EF%BC%91", "%C2%B2"),
        *("x", "%2E%2E", "..%2F..%2Fsettings", "{}%252Fkeys", "{}%2F..%2F{}", "new", "'or'1"),
    ],
)
def test_invalid_app_ids_are_refused(developer, app_id, unchanged, name):
    name = name.replace("{}", app_id)
    for path in (f"/portal/apps/{name}", f"/portal/apps/{name}/keys"):
        for method, action in (("GET", None), ("POST", "revoke_token")):
            assert send(developer, method, path, action).status_code == 404


def test_other_methods_and_trailing_slashes_are_refused(developer, app_id):
    for path in (PORTAL, settings_path(app_id), keys_path(app_id)):
        assert developer.http.put(developer.origin + path).status_code == 405
        assert developer.http.get(f"{developer.origin}{path}/").status_code == 404
    assert developer.http.get(developer.origin + "/portals").status_code == 404


# Saving.


def test_saved_settings_are_those_of_the_form(many_apps, developer):
    with many_apps.person() as person:
        person.sign_in()
        answer = send(person, "POST", NEW)
        made = re.fullmatch(r"/portal/apps/(\d+)/keys", answer.headers["location"])[1]
    page = developer.open(settings_path(made))
    form = dict(page.form_with("name").fields)
    assert {name: form[name].replace("\n", "\r\n") for name in GOOD} == GOOD | {"name": "Changed"}
    row = "select owner_id, enabled, suspended, per_minute, sign_in from apps where id = ?"
    assert many_apps.sql(row, int(made)) == [(101, 0, 0, None, 1)]
    changed = developer.submit(
        page,
        page.form_with("name"),
        name="Second name",
        description="",
        website="",
        callbacks="\n example.tides://signed-in \n\n",
        access_level="read",
    )
    assert "Your changes are saved" in changed.html
    form = dict(changed.form_with("name").fields)
    expected = {"name": "Second name", "description": "", "website": ""}
    expected |= {"callbacks": "example.tides://signed-in", "access_level": "read", "sign_in": "on"}
    assert {name: form[name] for name in expected} == expected


def test_line_breaks_in_a_description_become_spaces(developer):
    """People break lines in a text area."""
    made, _ = create(developer, description="Tells when to post.\r\nAnd when not to.\r\n")
    page = developer.open(settings_path(made))
    said = dict(page.form_with("name").fields)["description"]
    assert said == "Tells when to post. And when not to."


def test_a_developer_cannot_set_what_a_manager_decides(many_apps, developer, app_id):
    more = {"enabled": "1", "per_minute": "9", "suspended": "0", "owner_id": "202", "id": "1"}
    token = {"csrf_token": csrf_token_of(developer)}
    for path in (NEW, settings_path(app_id)):
        assert post(developer, path, GOOD | more | token).status_code == 303
    [newest] = many_apps.sql("select max(id) from apps")
    for each in (newest[0], int(app_id)):
        row = "select owner_id, enabled, per_minute, suspended from apps where id = ?"
        assert many_apps.sql(row, each) == [(101, 0, None, 0)]


CALLBACKS = [f"https://tides.example/{at}" for at in range(11)]
BAD = [
    *(
        ("name", text)
        for text in ("", " \t", "x" * 129, "\u202eknaB", "a\x00b", "\u200b", "\u3164", "a\nb")
    ),
    *(("description", text) for text in ("x" * 513, "a\u202eb", "a\x07b", "a\u200bb")),
    *(
        ("website", text)
        for text in (
            *("tides.example", "//tides.example", "ftp://tides.example", "javascript:alert(1)"),
            *("https://", "https://me@tides.example", "https://tides.example/é", "tides://x"),
            *("https://tides.example/a b", "https://tides.example/#top", "x" * 3000),
            "https://tides.example/\u200b",
        )
    ),
    *(
        ("callbacks", text)
        for text in (
            "\r\n".join(CALLBACKS),
            "\r\n".join([*CALLBACKS[:2], CALLBACKS[0]]),
            *("javascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd"),
            *("tides://x", "ms-msdt:/id", "intent://x", "chrome-extension://x/y", "x-a.b:c"),
            *("mailto:a@b.example", "about:blank", "blob:https://x", "view-source:https://x"),
            *("JavaScript:alert(1)", "tides.example/return", "/return", "https://", "oob"),
            *("https://tides.example/#x", "https://me:secret@tides.example/", "https://a;b/"),
            *(
                "https://tides.example/\u200b",
                "https://tides.example/\x7f",
                "https://ex\u0430mple/",
            ),
            *("https://" + "x" * 2048, "https://[::1/", "https://x:port/", "https://x/<b>"),
        )
    ),
    *(("access_level", text) for text in ("", "admin", "READ", "read ", "read-write\x00")),
]


@cases(("field", "value"), BAD, ids=lambda each: ascii(each)[:40])
def test_invalid_values_are_refused_and_stay_in_the_form(
    developer, app_id, unchanged, field, value
):
    token = {"csrf_token": csrf_token_of(developer)}
    for path in (NEW, settings_path(app_id)):
        answer = post(developer, path, GOOD | {field: value} | token)
        assert answer.status_code == 400
        page = read_page(answer)
        assert page.text("faults").startswith("Nothing was saved ")
        assert page.text(f"{field}-fault") in page.text("faults")
        assert "<title>Error: " in page.html
        invalid = re.findall(r'<(\w+)([^>]*)aria-invalid="true"', page.html)
        assert len(invalid) == 1
        wanted = "fieldset" if field == "access_level" else f'name="{field}"'
        assert wanted in " ".join(invalid[0])
        kept = dict(page.form_with("name").fields)
        expected = {n: v.replace("\r\n", "\n") for n, v in (GOOD | {field: value}).items()}
        if field == "access_level":
            assert "access_level" not in kept
            del expected[field]
        expected[field] = expected.get(field, "").strip()
        assert {n: kept.get(n, "") for n in expected} == expected


def test_a_field_that_is_given_twice_counts_as_missing(developer, app_id, unchanged):
    pairs = [*GOOD.items(), ("name", "Another"), ("csrf_token", csrf_token_of(developer))]
    for path in (NEW, settings_path(app_id)):
        answer = developer.http.post(developer.origin + path, content=as_form(pairs), headers=FORM)
        assert answer.status_code == 400
        assert "Write a name of 1 to 128 visible characters." in answer.text


@pytest.mark.parametrize(("callbacks", "status"), [(10_000, 400), (100_000, 413)])
def test_a_form_with_many_callbacks_is_refused(developer, app_id, unchanged, callbacks, status):
    many = "\n".join("x" for _ in range(callbacks))
    token = {"csrf_token": csrf_token_of(developer)}
    assert post(developer, NEW, GOOD | {"callbacks": many} | token).status_code == status


def test_the_largest_allowed_callbacks_fit_into_a_form(developer):
    """Ten URLs of 2048 characters, which is more than a visitor may send."""
    url = "https://client.example/?" + "&" * (2047 - 24)
    many = "\n".join(f"{url}{number}" for number in range(10))
    token = {"csrf_token": csrf_token_of(developer)}
    answer = post(developer, NEW, GOOD | {"callbacks": many} | token)
    assert answer.status_code != 413


@cases("text", SCRIPTS)
def test_scripts_in_the_settings_of_an_app_do_not_run(developer, text):
    made, page = create(developer, text, description=text)
    pages = [page, *(developer.open(path) for path in (PORTAL, settings_path(made)))]
    token = {"csrf_token": csrf_token_of(developer)}
    for path in (NEW, settings_path(made)):
        sent = dict.fromkeys(("website", "callbacks", "access_level", "name", "description"), text)
        pages.append(read_page(post(developer, path, sent | token)))
        assert pages[-1].status == 400
    for each in pages:
        assert [bad for bad in DANGEROUS if bad in each.html] == []
        assert "62615533" not in each.html  # 7919 * 7907
        assert "evil.example>" not in each.html
    assert dict(pages[2].form_with("name").fields)["name"] == text


@pytest.mark.parametrize(
    "text",
    [
        *SCRIPTS,
        "javascript:alert(1)",
        "\u202e",
        pytest.param("\x00", marks=pytest.mark.embedded),  # PostgreSQL has no text with it
        " ",
    ],
)
def test_scripts_written_directly_to_the_registry_do_not_run(many_apps, developer, text):
    made, _ = create(developer)
    update = "update apps set name = ?, website = ?, description = ? where id = ?"
    many_apps.sql(update, text, text, text, int(made))
    many_apps.sql("insert into callbacks values (?, 0, ?)", int(made), text)
    for path in (PORTAL, settings_path(made), keys_path(made)):
        page = developer.open(path)
        assert page.status == 200
        assert [bad for bad in DANGEROUS if bad in page.html] == []
        assert 'href="javascript:' not in page.html


# The limit on apps.


@pytest.fixture(scope="module")
def full(world):
    """A server with at most five apps per account, of which alice has three."""
    with start_oauth_server(world, workers=2, apps_per_account_max="5") as made:
        yield made


def test_the_number_of_apps_is_limited(full):
    count = "select count(*) from apps where owner_id = 101"
    with full.person() as one, full.person() as other:
        for person in (one, other):
            person.sign_in()
        create(one)
        assert f'href="{NEW}"' in one.open(PORTAL).html
        answers = run_at_once(lambda person: send(person, "POST", NEW), [one, other, one, other])
        assert sorted(each.status_code for each in answers) == [303, 400, 400, 400]
        assert full.sql(count) == [(5,)]
        refused = read_page(next(each for each in answers if each.status_code == 400))
        assert "You have 5 apps" in refused.text("faults")
        assert dict(refused.form_with("name").fields)["name"] == "Changed"
        assert "aria-invalid" not in refused.html
        page = one.open(PORTAL)
        assert f'href="{NEW}"' not in page.html
        assert "an account may have at most 5" in page.html
        [(newest,)] = full.sql("select max(id) from apps where owner_id = 101")
        assert send(one, "POST", settings_path(str(newest))).status_code == 303


def test_a_limit_of_zero_allows_no_apps(narrow):
    narrow.server.command("account", "add", "newcomer")
    set_password(narrow.server, "newcomer")
    with narrow.person("newcomer") as person:
        person.sign_in()
        assert "You cannot create apps here" in person.open(PORTAL).html
        assert send(person, "POST", NEW).status_code == 400
        owned = "select count(*) from apps where owner_id not in (101, 202, 303)"
        assert narrow.sql(owned) == [(0,)]


# Headers of every page.


def test_every_page_has_the_security_headers(developer, app_id):
    pages = [
        *(send(developer, "GET", path) for _, path, _ in routes(app_id)),
        send(developer, "POST", settings_path(app_id)),
        send(developer, "POST", keys_path(app_id), "none"),
        post(developer, NEW, {"csrf_token": csrf_token_of(developer)}),
        send(developer, "GET", settings_path("1")),
    ]
    assert {each.status_code for each in pages} == {200, 303, 400, 404}
    for answer in pages:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@cases(
    "host",
    [
        *("x$(id)", "x`id`", 'x";id;"', "x';id;'", "x;id", "x&id", "x|id", "x>id", "x id", "x\\"),
        *("<script>alert(1)</script>", "x/../y", "x?y", "x#y", "me@x", "x=y", "{{7*7}}", "*", "~"),
        *("\xe9.example", "x%0aid", "x\tid", "", "$HOME", "a.example, b.example", "!!"),
    ],
)
def test_a_host_with_shell_syntax_is_replaced(many_apps, developer, app_id, host):
    cookie = ("Cookie", f"oe_session={developer.http.cookies['oe_session']}")
    sent = request_bytes("GET", keys_path(app_id), [cookie], host=host)
    answers = parse_answers(talk(many_apps.server.port, sent))
    if not answers or answers[0].status in {400, 404}:
        return
    [answer] = answers
    assert answer.status in {200, 303}
    text = answer.body.decode()
    if answer.status == 200:
        assert "ENGAGEMENT_API_URL=http://HOST\n" in text
    assert "id;" not in text
    assert "<script>alert" not in text


def test_a_plain_host_is_shown(many_apps, developer, app_id):
    cookie = ("Cookie", f"oe_session={developer.http.cookies['oe_session']}")
    for host in ("metrics.example", "localhost:8080", "[::1]:8080", "127.0.0.1", "a_b-c.example"):
        sent = request_bytes("GET", keys_path(app_id), [cookie], host=host)
        [answer] = parse_answers(talk(many_apps.server.port, sent))
        assert f"ENGAGEMENT_API_URL=http://{host}\n" in answer.body.decode()


def test_the_pages_of_a_suspended_app(many_apps, developer):
    """The pages say so. The developer can still correct the settings and revoke credentials."""
    made, _ = create(developer)
    many_apps.server.command("app", "enable", made)
    assert "is enabled for this App ID" in " ".join(
        developer.open(settings_path(made)).html.split()
    )
    many_apps.server.command("app", "suspend", made)
    page = developer.open(settings_path(made))
    assert "This App ID is suspended" in page.html
    assert ">Suspended<" in page.html
    assert ">Suspended<" in developer.open(PORTAL).html
    assert "BEARER_TOKEN" in secrets_on(act(developer, made, "generate_bearer"))
    act(developer, made, "revoke_bearer")
    assert many_apps.sql("select suspended, bearer_hash from apps where id = ?", int(made)) == [
        (1, None)
    ]


# Deleting an app


def delete(person, app_id):
    """Press the button of the settings page. Return the next page."""
    page = person.open(settings_path(app_id))
    return person.submit(page, page.form_sending("action", "delete"), action="delete")


def test_an_owner_deletes_an_app(developer, many_apps):
    made, _ = collect(developer, "Short Lived")
    after = delete(developer, made.app_id)
    assert urlsplit(after.url).path == PORTAL
    assert "Short Lived" not in after.html
    for path in (settings_path, keys_path):
        assert developer.open(path(made.app_id)).status == 404
    assert many_apps.sql("select count(*) from apps where id = ?", int(made.app_id)) == [(0,)]
    for table in ("access_tokens", "callbacks", "request_tokens"):
        found = many_apps.sql(f"select count(*) from {table} where app_id = ?", int(made.app_id))
        assert found == [(0,)], table


def test_deleting_makes_room_for_another_app(developer, many_apps):
    """The limit counts the apps that exist."""
    before = many_apps.sql("select count(*) from apps where owner_id = 101")
    app_id, _ = create(developer, "One Of Many")
    delete(developer, app_id)
    assert many_apps.sql("select count(*) from apps where owner_id = 101") == before
