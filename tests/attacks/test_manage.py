"""The manager's console: its decisions hold on every worker, and only managers can open it."""

import csv
import io
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from openengagement.registry.apps import AppForm
from openengagement.registry.opening import open_registry
from support.calls import question, sign_as_user
from support.cases import cases
from support.cli import invoke
from support.flows import PASSWORD, add_manager, set_password
from support.oauth_server import connected_clients, start_oauth_server
from support.stores import registry_url

MONTH = time.strftime("%Y-%m", time.gmtime())
OTHER_MONTH = "2024-02"
PAGES = ("/manage", "/manage/usage", "/manage/usage.csv", "/manage/audit", "/manage/apps/10000001")
LIMITS = ("per_minute", "handles_contracted")


@pytest.fixture(scope="module")
def console(world):
    """Two workers, and a manager."""
    with start_oauth_server(world, workers=2) as made:
        add_manager(made.server, "mira")
        yield made


@pytest.fixture(scope="module")
def mira(console):
    with console.person("mira") as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="module")
def member(console):
    with console.person("alice") as person:
        person.sign_in()
        yield person


@pytest.fixture(autouse=True)
def _healthy(console):
    yield
    assert console.server.is_healthy()
    assert "request_failed" not in console.server.log(), console.server.log()[-2000:]


@pytest.fixture
def decide(mira):
    """Open an app's page and submit a decision with these fields."""

    def decided(app, decision, **fields):
        page = mira.open(f"/manage/apps/{app.app_id}")
        form = page.form_sending("decision", decision)
        return mira.submit(page, form, decision=decision, **fields)

    return decided


@pytest.fixture
def waiting(console):
    """A new app that waits for access, and its owner's access token."""
    made = console.server.command("app", "add", "Harbour Charts", "--owner", "alice")
    token = console.server.command("token", "issue", made["app_id"])
    console.server.secrets += [made["consumer_secret"], token["access_token_secret"]]
    return replace(
        console.web,
        **{name: made[name] for name in ("app_id", "consumer_key", "consumer_secret")},
        **token,
    )


def codes(console, app):
    """The codes that both workers answer to a request of this app."""
    with connected_clients(console.server) as clients:
        auth = sign_as_user(app)
        answers = [each.ask("totals", question("111"), auth) for each in clients]
        return {each.code or each.headers["x-per-minute-limit"] for each in answers}


def log_of(console, app):
    rows = console.sql(
        "SELECT actor, action, before, after FROM audit_log WHERE app_id = ? ORDER BY id",
        int(app.app_id),
    )
    return [tuple(row) for row in rows]


# --- what it is for ------------------------------------------------------------------------------


def test_enabling_an_app_lets_its_next_request_through(console, mira, waiting):
    assert codes(console, waiting) == {"app_not_enabled"}
    page = mira.open("/manage")
    form = page.form_with("per_minute", action=f"/manage/apps/{waiting.app_id}")
    page = mira.submit(page, form, per_minute="77", decision="enable")
    assert (page.status, page.url.partition("?")[0]) == (200, f"{console.url}/manage")
    assert page.text("notice") == "Harbour Charts is enabled. Its next request is answered."
    assert f"/manage/apps/{waiting.app_id}" not in [form.action for form in page.forms]
    assert codes(console, waiting) == {"77"}
    assert log_of(console, waiting) == [
        ("mira", "enable", "no", "yes"),
        ("mira", "limit", None, "77"),
    ]


def test_a_decision_takes_effect_on_the_next_request_of_every_worker(console, waiting, decide):
    for decision, fields, outcome in (
        ("enable", {}, "6000"),
        ("limits", {"per_minute": " 55 ", "handles_contracted": "3"}, "55"),
        ("disable", {}, "app_not_enabled"),
        ("enable", {}, "55"),
        ("suspend", {}, "app_suspended"),
        ("resume", {}, "55"),
        ("limits", {"per_minute": "", "handles_contracted": ""}, "6000"),
    ):
        page = decide(waiting, decision, **fields)
        assert page.status == 200
        assert page.text("notice").startswith("Harbour Charts ")
        assert codes(console, waiting) == {outcome}, decision
    assert log_of(console, waiting) == [
        ("mira", "enable", "no", "yes"),
        ("mira", "limit", None, "55"),
        ("mira", "handles", None, "3"),
        ("mira", "disable", "yes", "no"),
        ("mira", "enable", "no", "yes"),
        ("mira", "suspend", "no", "yes"),
        ("mira", "resume", "yes", "no"),
        ("mira", "limit", "55", None),
        ("mira", "handles", "3", None),
    ]


def test_changes_by_the_command_line_are_in_the_audit_log(console, mira, waiting):
    console.server.command("app", "enable", waiting.app_id)
    console.server.command("account", "role", "bob", "manager")
    console.server.command("account", "role", "bob", "member")
    main = " ".join(re.sub("<[^>]+>", "", mira.open("/manage/audit").html).split())
    assert "Harbour Charts: The command line enabled the app." in main
    assert "The command line made @bob a manager (previously a member)." in main
    page = mira.open(f"/manage/apps/{waiting.app_id}")
    assert "The command line" in page.html


@pytest.mark.embedded
def test_the_command_line_shows_missing_contracts(console, waiting):
    done = invoke("--data", str(console.server.data), "app", "disable", waiting.app_id)
    printed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (printed["per_minute"], printed["handles_contracted"]) == ("default", "none")


def test_a_disabled_app_is_not_waiting(mira, waiting, decide):
    decide(waiting, "enable")
    decide(waiting, "disable")
    queue = mira.open("/manage?q=nothing-like-it")
    assert f"/manage/apps/{waiting.app_id}" not in [form.action for form in queue.forms]
    assert waiting.app_id in mira.open("/manage?state=disabled").html


def test_search_by_name_id_and_owner(mira, waiting):
    for query, found in (
        ("q=harbour+CHARTS", True),
        (f"q={waiting.app_id}", True),
        ("q=%40alice", True),
        ("q=harbour&state=waiting", True),
        ("q=harbour&state=suspended", False),
        ("q=bob", False),
        ("q=%25", False),
        ("q=harbour&state=nonsense", True),
        ("q=harbour&page=999999999999999999999", True),
        ("q=harbour&page=-1", True),
        ("q=%00", False),
        ("q=%00harbour", True),
        ("q=x%00", False),
        ("q=%40", False),
    ):
        html = mira.open(f"/manage?{query}").html.partition('id="all"')[2]
        assert (f"/manage/apps/{waiting.app_id}" in html) is found, query
    assert "No app matches" in mira.open("/manage?q=nowhere").html


def test_a_long_list_of_apps_has_pages(console, mira):
    now = int(time.time())
    columns = "id, name, owner_id, consumer_key, consumer_secret, enabled, bearer_generation"
    for at in range(101):
        console.sql(
            f"INSERT INTO apps ({columns}, created_at_s) VALUES (?, ?, 202, ?, ?, ?, 0, ?)",
            20_000_001 + at,
            f"Crowd {at}",
            f"crowd {at}",
            b"\0",
            False,
            now,
        )
    seen = []
    for number in (1, 2, 3):
        html = mira.open(f"/manage?q=crowd&page={number}").html
        assert f"Page {number} of 3" in html
        rows = html.partition('id="all"')[2]
        seen += re.findall(r'<a href="/manage/apps/(\d+)"', rows)
    assert len(seen) == len(set(seen)) == 101
    assert "see all waiting apps" in html
    console.sql("DELETE FROM apps WHERE id > 20000000")


# --- usage ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used(console):
    """A past month in which an app with a hostile name exceeded its contract."""
    server = console.server
    made = server.command("app", "add", "=cmd|'/c calc'!A1", "--owner", "bob")
    server.command("app", "enable", made["app_id"], "--handles", "2")
    registry = open_registry(server.data, registry_url(server.data))
    app_id = int(made["app_id"])
    registry.usage.add_usage(
        {(OTHER_MONTH, app_id, "ok"): 1990, (OTHER_MONTH, app_id, "rate_limited"): 10},
        {(OTHER_MONTH, app_id, account) for account in (101, 202, 404)},
    )
    registry.close()
    return made["app_id"]


def test_the_usage_of_all_apps_in_a_month(mira, used):
    page = mira.open(f"/manage/usage?month={OTHER_MONTH}")
    text = " ".join(re.sub("<[^>]+>", " ", page.html).replace("&nbsp;", " ").split())
    words = ("Usage in February 2024", "2,000", "0.5%", "10 rate_limited", "3 of 2", "1 over")
    assert [each for each in words if each not in text] == []
    assert "/manage/usage?month=2024-01" in page.html
    assert "/manage/usage?month=2024-03" in page.html
    newest = mira.open("/manage/usage").html
    assert 'rel="next"' not in newest


def test_links_to_months_stop_at_the_first_and_the_present_one(mira):
    for month, linked in (("2000-02", True), ("2000-01", False)):
        page = mira.open(f"/manage/usage?month={month}")
        assert (page.status, 'rel="prev"' in page.html) == (200, linked)
        assert 'rel="next"' in page.html


def test_the_csv_of_a_month_holds_no_formula(mira, used):
    answer = mira.open(f"/manage/usage.csv?month={OTHER_MONTH}").response
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = f'attachment; filename="usage-{OTHER_MONTH}.csv"'
    assert answer.headers["content-disposition"] == name
    assert answer.headers["cache-control"] == "no-store"
    text = io.StringIO(answer.content.decode("utf-8-sig"), newline="")
    rows = {row["app_id"]: row for row in csv.DictReader(text)}
    assert rows[used] == {
        "month": OTHER_MONTH,
        "app_id": used,
        "name": "'=cmd|'/c calc'!A1",
        "owner": "bob",
        "requests": "2000",
        "refused": "10",
        "rate_limited": "10",
        "handles": "3",
        "handles_contracted": "2",
        "handles_over": "1",
    }


def test_the_handles_of_an_app_in_a_month(mira, used):
    html = mira.open(f"/manage/apps/{used}?month={OTHER_MONTH}").html
    names = re.findall(r"<li><bdi[^>]*>@(\w+)</bdi></li>", html)
    assert names == ["alice", "bob", "dave"]
    assert "No handle in" in mira.open(f"/manage/apps/{used}").html


@cases("month", ["2024-13", "x", "", "2024-02-01"])
@cases("path", ["/manage/usage", "/manage/usage.csv", "/manage/apps/{}"])
def test_an_invalid_month_is_refused(mira, used, path, month):
    page = mira.open(f"{path.format(used)}?month={month}")
    assert page.status == 400
    assert "This is not a month" in page.html
    assert "month=2026-11" in page.html


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_a_visitor_must_sign_in_and_returns(console, path):
    with console.person("mira") as person:
        answer = person.http.get(f"{console.url}{path}?month={OTHER_MONTH}&q=a%26b")
        assert answer.status_code == 303
        page = person.open(answer.headers["location"])
        landed = person.sign_in(page)
        assert landed.url == f"{console.url}{path}?month={OTHER_MONTH}&q=a%26b"


@cases("path", PAGES)
def test_a_member_is_refused_with_an_explanation(member, path):
    page = member.open(path)
    assert page.status == 403
    assert "This page is for the platform&#39;s managers" in page.html
    assert page.response.headers["content-type"].startswith("text/html")
    assert "/manage" not in page.html.replace(path, ""), "no part of the console is shown"


def test_only_managers_decide(console, member, waiting):
    path = f"/manage/apps/{waiting.app_id}"
    token = dict(member.open("/settings/apps").form_with(action="/sign-out").fields)["csrf_token"]
    sent = {"csrf_token": token, "decision": "enable"}
    assert member.http.post(console.url + path, data=sent).status_code == 403
    with console.person() as stranger:
        page = stranger.open("/sign-in")
        token = dict(page.form_with("password").fields)["csrf_token"]
        sent = {"csrf_token": token, "decision": "enable"}
        answer = stranger.http.post(console.url + path, data=sent)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?")
    assert log_of(console, waiting) == []
    assert codes(console, waiting) == {"app_not_enabled"}


def test_a_decision_from_another_site_is_refused(console, mira, member, waiting):
    path = f"{console.url}/manage/apps/{waiting.app_id}"
    page = mira.open(path)
    own = dict(page.form_sending("decision", "enable").fields)["csrf_token"]
    foreign = dict(member.open("/settings/apps").form_with(action="/sign-out").fields)["csrf_token"]
    for token, headers in (
        (None, {}),
        ("guess", {}),
        (foreign, {}),
        (own, {"Origin": "https://evil.example"}),
        (own, {"Sec-Fetch-Site": "cross-site"}),
    ):
        sent = {"decision": "enable"} | ({"csrf_token": token} if token else {})
        answer = mira.http.post(path, data=sent, headers=headers)
        assert answer.status_code == 403
        assert "The form was not accepted" in answer.text
    assert mira.http.get(f"{path}?decision=enable&csrf_token={own}").status_code == 200
    assert log_of(console, waiting) == []


def test_a_removed_role_has_no_effect_at_once(console, waiting):
    console.server.command("account", "add", "noor", "--role", "manager")
    set_password(console.server, "noor", PASSWORD)
    with console.person("noor") as noor:
        noor.sign_in()
        page = noor.open(f"/manage/apps/{waiting.app_id}")
        console.server.command("account", "role", "noor", "member")
        form = page.form_sending("decision", "enable")
        for _ in range(6):  # any worker may answer
            assert noor.open("/manage").status == 403
            assert noor.submit(page, form, decision="enable").status == 403
        assert log_of(console, waiting) == []
        console.server.command("account", "role", "noor", "manager")
        assert noor.submit(page, form, decision="enable").status == 200
    assert log_of(console, waiting) == [("noor", "enable", "no", "yes")]


@pytest.mark.heavy
def test_a_role_removed_before_the_decision_is_written_is_respected(console, member, waiting):
    """The page has checked the role and waits for the database; the demotion is written first."""
    console.server.command("account", "add", "yuki", "--role", "manager")
    set_password(console.server, "yuki", PASSWORD)
    path = console.server.data / "registry.sqlite3"
    with console.person("yuki") as yuki, ThreadPoolExecutor() as pool:
        yuki.sign_in()
        page = yuki.open(f"/manage/apps/{waiting.app_id}")
        form = page.form_sending("decision", "enable")
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            refused = pool.submit(yuki.submit, page, form, decision="enable")
            time.sleep(1)
            assert not refused.done()
            db.execute("UPDATE accounts SET role = 'member' WHERE screen_name = 'yuki'")
            db.execute("COMMIT")
        answer = refused.result()
    assert answer.status == 403
    like = member.open(f"/manage/apps/{waiting.app_id}")
    assert answer.text("main") == like.text("main")
    assert 'href="/manage' not in answer.html
    assert log_of(console, waiting) == []


# --- two at once ---------------------------------------------------------------------------------


def limits_form(person, app):
    page = person.open(f"/manage/apps/{app.app_id}")
    return page, page.form_sending("decision", "limits")


def test_two_managers_can_change_different_limits(console, mira, waiting):
    stale = limits_form(mira, waiting)
    console.server.command("app", "enable", waiting.app_id, "--per-minute", "44")
    assert mira.submit(*stale, decision="limits", handles_contracted="9").status == 200
    limits = console.sql(
        "SELECT per_minute, handles_contracted FROM apps WHERE id = ?", int(waiting.app_id)
    )
    assert limits == [(44, 9)]


@pytest.mark.parametrize("typed", ["55", "44", ""])
def test_two_managers_cannot_overwrite_each_other(console, mira, waiting, typed):
    console.server.command("app", "enable", waiting.app_id, "--per-minute", "33")
    stale = limits_form(mira, waiting)
    console.server.command("app", "enable", waiting.app_id, "--per-minute", "44")
    before = log_of(console, waiting)
    page = mira.submit(*stale, decision="limits", per_minute=typed, handles_contracted="9")
    assert page.status == 409
    assert "Somebody else changed these limits" in page.text("faults")
    form = page.form_sending("decision", "limits")
    shown = dict(form.fields)
    assert (shown["per_minute"], shown["was_per_minute"]) == ("44", "44")
    assert (shown["handles_contracted"], shown["was_handles_contracted"]) == ("", "")
    assert log_of(console, waiting) == before, "the other decision of the two has no effect either"
    assert mira.submit(page, form, decision="limits", per_minute="66").status == 200
    assert codes(console, waiting) == {"66"}


def test_an_invalid_number_does_not_hide_a_change_by_another_manager(console, mira, waiting):
    page, form = limits_form(mira, waiting)
    page = mira.submit(page, form, decision="limits", handles_contracted="many")
    assert page.status == 400
    console.server.command("app", "enable", waiting.app_id, "--per-minute", "44")
    page = mira.submit(
        page, page.form_sending("decision", "limits"), decision="limits", handles_contracted="x"
    )
    form = page.form_sending("decision", "limits")
    page = mira.submit(page, form, decision="limits", per_minute="55", handles_contracted="")
    assert page.status == 409
    assert codes(console, waiting) == {"44"}


@pytest.mark.parametrize("queue", [True, False])
@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Harbour Bank"},
        {"website": "https://evil.example"},
        {"description": "Sends money."},
        {"access_level": "read-write-directmessages"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_approval_needs_the_app_that_the_page_showed(console, mira, waiting, queue, changed):
    page = mira.open("/manage" if queue else f"/manage/apps/{waiting.app_id}")
    action = f"/manage/apps/{waiting.app_id}"
    form = page.form_with("decision", "seen", action=action)
    with closing(open_registry(console.server.data, registry_url(console.server.data))) as registry:
        app = registry.apps.read_app(int(waiting.app_id))
        said = AppForm(app.name, app.owner_id, [])
        registry.apps.apply_form(app.id, replace(said, **changed))
    page = mira.submit(page, form, decision="enable")
    assert page.status == 409
    text = "This app changed after you opened the page. Check it again, then decide."
    assert page.text("faults") == f"Nothing was changed {text}"
    assert log_of(console, waiting) == []
    assert codes(console, waiting) == {"app_not_enabled"}
    form = page.form_sending("decision", "enable")
    assert mira.submit(page, form, decision="enable").status == 200


def test_enabling_from_the_list_keeps_an_earlier_limit(console, mira, waiting, decide):
    decide(waiting, "limits", per_minute="210")
    page = mira.open("/manage")
    form = page.form_with("per_minute", action=f"/manage/apps/{waiting.app_id}")
    stale = mira.open("/manage")
    assert mira.submit(page, form, decision="enable").status == 200
    assert codes(console, waiting) == {"210"}
    decide(waiting, "limits", per_minute="220")
    page = mira.submit(stale, form, decision="enable", per_minute="230")
    assert page.status == 409
    assert codes(console, waiting) == {"220"}


# --- what does not fit ---------------------------------------------------------------------------


@cases("app_id", ["1", "0", "x", "10000001x", "-1", "9" * 18, "9" * 40, "٣", "%00"])
def test_unknown_apps_are_refused(console, mira, waiting, app_id):
    page = mira.open(f"/manage/apps/{app_id}")
    assert page.status == 404
    assert "There is no such app" in page.html
    token = dict(mira.open("/settings/apps").form_with(action="/sign-out").fields)["csrf_token"]
    sent = {"csrf_token": token, "decision": "enable"}
    answer = mira.http.post(f"{console.url}/manage/apps/{app_id}", data=sent)
    assert answer.status_code == 404


@pytest.mark.parametrize("decision", ["", "delete", "Enable", "__class__"])
def test_unknown_decisions_are_refused(console, mira, waiting, decision):
    path = f"{console.url}/manage/apps/{waiting.app_id}"
    token = dict(mira.open(path).form_sending("decision", "enable").fields)["csrf_token"]
    for sent in ({"decision": decision}, {}):
        answer = mira.http.post(path, data={"csrf_token": token} | sent)
        assert answer.status_code == 400
    assert log_of(console, waiting) == []


@cases(
    ("sent", "missing"),
    [
        ({"decision": "limits"}, "per_minute and handles_contracted"),
        ({"decision": "limits", "was_per_minute": ""}, "per_minute and handles_contracted"),
        ({"decision": "limits", "per_minute": ["5", "6"]}, "per_minute and handles_contracted"),
        ({"decision": "limits", "per_minute": "5"}, "was_per_minute"),
        ({"decision": "enable"}, "seen"),
        ({"decision": "enable", "seen": "x", "per_minute": "5"}, "was_per_minute"),
    ],
)
def test_incomplete_forms_are_refused(console, mira, waiting, sent, missing):
    path = f"{console.url}/manage/apps/{waiting.app_id}"
    token = dict(mira.open(path).form_sending("decision", "enable").fields)["csrf_token"]
    answer = mira.http.post(path, data={"csrf_token": token} | sent)
    assert answer.status_code == 400
    assert f"The form lacks {missing}." in answer.text
    assert log_of(console, waiting) == []


def test_a_link_cannot_claim_a_decision_that_was_not_made(console, mira, waiting, decide):
    app_id = waiting.app_id

    def claimable():
        """The notices that links can show."""
        found = set()
        for done in ("enable", "disable", "suspend", "resume", "limits", "nonsense", ""):
            pages = [
                mira.open(f"/manage/apps/{app_id}?done={done}"),
                mira.open(f"/manage?app={app_id}&done={done}"),
            ]
            notices = {page.texts.get("notice", "").strip() for page in pages}
            assert len(notices) == 1
            found |= {done} if notices != {""} else set()
        return found

    assert claimable() == {"resume", "limits"}
    page = mira.open(f"/manage/apps/{app_id}?done=resume")
    assert "is no longer suspended" in page.text("notice")
    page = mira.open(f"/manage/apps/{app_id}?done=limits")
    assert page.text("notice") == (
        "Harbour Charts has new limits. Requests a minute: 6,000 (the default). Contracted "
        "handles a month: none."
    )
    decide(waiting, "enable")
    assert claimable() == {"enable", "resume", "limits"}
    decide(waiting, "disable")
    assert claimable() == {"disable", "resume", "limits"}
    decide(waiting, "suspend")
    assert claimable() == {"suspend", "limits"}
    decide(waiting, "resume")
    page = decide(waiting, "limits", per_minute="1234", handles_contracted="5678")
    assert "Requests a minute: 1,234. Contracted handles a month: 5,678." in page.text("notice")


@cases("field", LIMITS)
@cases("typed", ["0", "-5", "1.5", "6,000", "many", "1e3", "9" * 30, "٣", '"><script>'])
def test_invalid_numbers_are_reported_and_kept(console, waiting, decide, field, typed):
    other = LIMITS[field == LIMITS[0]]
    page = decide(waiting, "limits", **{field: typed, other: "12"})
    assert page.status == 400
    assert page.text(f"{field}-fault").startswith("Write a whole number from 1 to 1")
    kept = dict(page.form_sending("decision", "limits").fields)
    assert (kept[field], kept[other]) == (typed, "12")
    assert log_of(console, waiting) == [], "the valid number of the two is not saved either"


def test_a_corrected_number_is_saved(console, waiting, decide):
    assert decide(waiting, "limits", per_minute="many", handles_contracted="12").status == 400
    assert decide(waiting, "limits", per_minute="8", handles_contracted="12").status == 200
    assert len(log_of(console, waiting)) == 2


def test_an_invalid_number_in_the_list_enables_nothing(console, mira, waiting):
    page = mira.open("/manage")
    form = page.form_with("per_minute", action=f"/manage/apps/{waiting.app_id}")
    page = mira.submit(page, form, per_minute="lots", decision="enable")
    assert page.status == 400
    form = page.form_with("per_minute", action=f"/manage/apps/{waiting.app_id}")
    assert dict(form.fields)["per_minute"] == "lots"
    field = f"limit-{waiting.app_id}"
    assert page.text(f"{field}-fault").startswith("Write a whole number from 1 to 1")
    assert f'href="#{field}"' in page.html
    assert log_of(console, waiting) == []
    assert mira.submit(page, form, per_minute="8", decision="enable").status == 200
    assert len(log_of(console, waiting)) == 2


def test_a_form_of_the_queue_that_no_longer_has_the_app_leads_to_its_page(console, mira, waiting):
    page = mira.open("/manage")
    form = page.form_with("per_minute", action=f"/manage/apps/{waiting.app_id}")
    console.server.command("app", "suspend", waiting.app_id)
    page = mira.submit(page, form, per_minute="lots", decision="enable")
    assert page.status == 400
    assert dict(page.form_sending("decision", "limits").fields)["per_minute"] == "lots"


def test_hostile_names_are_shown_as_text(console, mira):
    name = '"><script>alert(1)</script>'
    made = console.server.command("app", "add", name, "--owner", "bob")
    console.server.command("app", "enable", made["app_id"])
    for path in ("/manage", f"/manage/apps/{made['app_id']}?done=enable", "/manage/audit"):
        html = mira.open(path).html
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)" in html


def test_other_methods(console, mira):
    for method, path in (("POST", ""), ("PUT", "/apps/10000001"), ("DELETE", "/audit")):
        assert mira.http.request(method, f"{console.url}/manage{path}").status_code == 405
    assert mira.open("/manage/nowhere").status == 404
    assert mira.open("/managers").status == 404
