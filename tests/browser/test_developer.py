"""A developer in a browser: an app, its keys, the printed request, the numbers, and new keys."""

import json
import re
import subprocess
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from browser.tabbing import press_tab, tab_to
from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from support.calls import Bearer, question, sign_as_user
from support.flows import PASSWORD, set_password
from support.waiting import PATIENCE_S
from support.world import App

QUESTION = question("111", types=("impressions",))
FIGURES = {"g": {"111": {"impressions": "40"}}}
TOTALS = {"favorites": "4", "retweets": "2", "replies": "1", "quote_tweets": "1"}
WITH_AND_WITHOUT_SCRIPT = pytest.mark.parametrize(
    "script", [True, False], ids=["script", "no-script"]
)
COPIED_MS = 2500  # how long a button says that it copied
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
SECRET_IDS = ("consumer-key", "consumer-secret", "access-token", "access-token-secret")


@pytest.fixture(scope="module")
def many_apps(servers):
    """A server where alice has Tweets and nadia has none."""
    made = servers(apps_per_account_max="1000")
    made.command("account", "add", "nadia")
    for name in ("alice", "nadia"):
        set_password(made, name)
    return made


@pytest.fixture
def sit(new_session, many_apps):
    """Signed-in people in browsers of their own, whose pages cause no error."""
    seated = []

    def open_session(name="alice", **options):
        session = new_session(many_apps.url, **{"reduced_motion": "reduce", **options})
        seated.append(session)
        session.open("/portal")
        session.sign_in(name)
        session.expect_heading("Your apps")
        return session

    yield open_session
    for session in seated:
        assert session.monitor.errors == []
        assert session.monitor.origins == {many_apps.url}


def create(page, name="Tide Tables"):
    """Create an app; return its App ID."""
    page.get_by_role("link", name="Create an app").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Also create a bearer token").uncheck()
    page.get_by_role("button", name="Create the app").click()
    expect(page.locator("#consumer-secret")).to_be_visible()
    page.wait_for_load_state()
    return re.search(r"/portal/apps/(\d+)/keys$", page.url)[1]


def text_of(page, *ids):
    return [page.locator(f"#{each}").inner_text() for each in ids]


def press(page, action):
    """Press the button of an action and open its confirmation if there is one."""
    button = page.locator(f"button[value={action}]")
    button.wait_for(state="attached")
    if not button.is_visible():
        page.locator("details", has=button).locator("summary").click()
    button.click()


def read_env(page):
    """Read the `.env` on the page."""
    pairs = (line.partition("=") for line in page.locator("#env").inner_text().split())
    return {name: value for name, _, value in pairs if value}


def run_curl(page, env, folder):
    """Run the page's curl command with this `.env`; return its output."""
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    (folder / "ask.sh").write_text(page.locator("#curl").inner_text())
    done = subprocess.run(
        ["bash", "ask.sh"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return json.loads(done.stdout)


@WITH_AND_WITHOUT_SCRIPT
def test_from_a_new_app_to_figures_and_new_keys(sit, many_apps, tmp_path, script):
    session = sit(java_script_enabled=script)
    page = session.page
    app_id = create(page)
    env = read_env(page)
    assert text_of(page, *SECRET_IDS[:2]) == [env["CONSUMER_KEY"], env["CONSUMER_SECRET"]]
    for what in ("bearer", "token"):
        press(page, f"generate_{what}")
        expect(page.locator(f"button[value=revoke_{what}]")).to_have_count(1)
        env |= read_env(page)
    env["TWEET_ID"] = "111"
    refused = run_curl(page, env, tmp_path)
    assert refused == {"errors": ["Your application ID is not authorized."]}
    page.get_by_role("link", name="Settings", exact=True).click()
    main = page.get_by_role("main")
    expect(page.locator("#app-id")).to_have_text(app_id)
    expect(main).to_contain_text("once its App ID is enabled")
    many_apps.command("app", "enable", app_id, "--per-minute", "1200")
    page.reload()
    expect(main).to_contain_text("for up to 1,200 requests a minute")
    page.get_by_role("link", name="Keys and tokens").click()
    numbers = run_curl(page, env, tmp_path)
    assert numbers == {"totals": {"111": TOTALS | {"video_views": "0"}}}
    mine = App(app_id, *(env[each.upper().replace("-", "_")] for each in SECRET_IDS))
    ask = many_apps.client.ask
    assert ask("totals", QUESTION, sign_as_user(mine)).json() == FIGURES
    press(page, "regenerate_key")
    expect(page.locator("#consumer-secret")).to_be_visible()
    assert ask("totals", QUESTION, sign_as_user(mine)).status == 401
    assert "errors" in run_curl(page, env, tmp_path)
    new = App(app_id, *text_of(page, *SECRET_IDS[:2]), mine.access_token, mine.access_token_secret)
    assert ask("totals", QUESTION, sign_as_user(new)).json() == FIGURES
    press(page, "generate_bearer")
    expect(page.locator("#bearer-token")).to_be_visible()
    made_now = env | read_env(page) | {"TWEET_ID": "111"}
    assert run_curl(page, made_now, tmp_path) == numbers
    press(page, "revoke_token")
    expect(page.locator("button[value=generate_token]")).to_be_visible()
    assert ask("totals", QUESTION, sign_as_user(new)).status == 401


@WITH_AND_WITHOUT_SCRIPT
def test_revoking_needs_a_confirmation(sit, many_apps, script):
    session = sit(java_script_enabled=script)
    page = session.page
    app_id = create(page)
    many_apps.command("app", "enable", app_id)
    press(page, "generate_bearer")
    [bearer] = text_of(page, "bearer-token")
    section = page.get_by_role("region", name="Bearer token")
    for words in ("Regenerate", "Revoke"):
        button = section.get_by_role("button", name=f"{words} now")
        expect(button).to_be_hidden()
        section.locator("summary", has_text=words).click()
        expect(button).to_be_visible()
        expect(section.locator("details[open]").last).to_contain_text("working at once")
        section.locator("summary", has_text=words).click()
    answer = many_apps.client.ask("totals", question("111"), Bearer(bearer))
    assert answer.status == 200


def test_secrets_disappear_after_leaving_the_page(sit):
    """Reloading, going back and returning do not show them."""
    page = sit().page
    create(page)
    [secret] = text_of(page, "consumer-secret")
    page.get_by_role("link", name="Settings", exact=True).click()
    expect(page.locator("#app-id")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Bearer token")).to_be_visible()
    assert secret not in page.content()
    press(page, "regenerate_key")
    expect(page.locator("#consumer-secret")).to_be_visible()
    [secret] = text_of(page, "consumer-secret")
    page.reload()
    expect(page.locator("#consumer-secret")).to_have_count(0)
    assert secret not in page.content()
    assert [each["name"] for each in page.context.cookies() if "once" in each["name"]] == []


# Keyboard.


def test_everything_works_by_keyboard(sit, many_apps):
    page = sit("nadia").page
    tab_to(page, "Create an app")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Create an app")
    tab_to(page, "name")
    page.keyboard.type("Ebb")
    tab_to(page, "access_level")
    page.keyboard.press("ArrowDown")
    tab_to(page, "sign_in")
    page.keyboard.press("Space")
    tab_to(page, "complete")
    page.keyboard.press("Space")
    tab_to(page, "Create the app")
    page.keyboard.press("Enter")
    expect(page.locator("#consumer-secret")).to_be_visible()
    [key] = text_of(page, "consumer-key")
    tab_to(page, "Regenerate the API key")
    page.keyboard.press("Enter")
    assert "Regenerate now" in press_tab(page)
    page.keyboard.press("Enter")
    expect(page.locator("#consumer-key")).not_to_have_text(key)
    tab_to(page, "Generate a bearer token")
    page.keyboard.press("Enter")
    expect(page.locator("#bearer-token")).to_be_visible()
    tab_to(page, "Settings")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Read and write", exact=True)).to_be_checked()
    expect(page.get_by_role("checkbox")).to_be_checked()
    tab_to(page, "name")
    page.keyboard.type("Ebb and flow")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Ebb and flow")
    expect(page.get_by_role("status")).to_have_text("Your changes are saved.")


def test_pressing_enter_twice_creates_one_app(sit):
    """Otherwise the page would show the secrets of another app, or none."""
    page = sit().page
    before = page.get_by_role("listitem").count()
    page.get_by_role("link", name="Create an app").click()
    page.get_by_label("Name").fill("Twice")
    page.keyboard.press("Enter")
    expect(page.locator("#consumer-secret")).to_be_visible()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Your apps").click()
    expect(page.get_by_role("listitem")).to_have_count(before + 1)


# Copying.


def test_copy_buttons(sit):
    session = sit(permissions=["clipboard-read", "clipboard-write"])
    page = session.page
    app_id = create(page)
    session.stop_clock()
    for source in ("consumer-key", "consumer-secret", "env", "curl", "python"):
        button = page.locator(f"button[data-copy={source}]")
        button.click()
        expect(button).to_contain_text("Copied")
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == page.locator(f"#{source}").inner_text().strip()
        assert copied == page.evaluate("id => document.getElementById(id).textContent", source)
        page.clock.run_for(COPIED_MS)
        expect(button).to_contain_text("Copy ")
    page.get_by_role("link", name="Settings", exact=True).click()
    page.get_by_role("button", name="Copy the App ID").click()
    expect(page.get_by_role("button", name="Copied the App ID")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == app_id


def test_copying_without_access_to_the_clipboard(sit):
    """Without TLS, the text is selected and the button names the keys to press."""
    session = sit()
    page = session.page
    page.add_init_script(NO_CLIPBOARD)
    create(page)
    session.stop_clock()
    for source in ("consumer-secret", "env"):
        button = page.locator(f"button[data-copy={source}]")
        button.click()
        expect(button).to_contain_text("Press Ctrl+C")
        marked = page.evaluate("getSelection().toString()")
        assert marked.strip() == page.locator(f"#{source}").inner_text().strip()
        page.clock.run_for(COPIED_MS)
        expect(button).to_contain_text("Copy ")


def test_without_scripts_copy_buttons_are_hidden(sit):
    """One click selects a whole secret."""
    page = sit(java_script_enabled=False).page
    create(page)
    for button in page.locator("button[data-copy]").all():
        expect(button).to_be_hidden()
    style = page.locator("#consumer-secret").evaluate("e => getComputedStyle(e).userSelect")
    assert style == "all"
    expect(page.locator("time").first).to_contain_text("UTC")


# Times.


@pytest.mark.parametrize(
    ("zone", "name"),
    [("Asia/Kathmandu", "GMT+5:45"), ("America/Phoenix", "GMT-7"), ("UTC", "UTC")],
)
def test_times_are_local_with_their_zone_and_utc_on_demand(sit, zone, name):
    page = sit(timezone_id=zone, locale="en-GB").page
    create(page)
    press(page, "generate_token")
    time = page.locator("time").first
    at = datetime.fromisoformat(time.get_attribute("datetime"))
    there = at.astimezone(ZoneInfo(zone))
    expect(time).to_have_text(f"{there.day} {there:%b %Y, %H:%M} {name}")
    expect(time).to_have_attribute("title", f"{at.day} {at:%b %Y, %H:%M} UTC")


# States that the tour of every page does not reach.


@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 800}}, POCKET])
def test_every_state_passes_axe(sit, many_apps, options):
    page = sit(**options).page
    app_id = create(page)
    wrong = []

    def look(state):
        found = [*ask_axe(page, *SCHEMES), *(measure(page) if "is_mobile" in options else [])]
        wrong.extend(f"{state}: {each}" for each in found)

    for state in ("enable", "suspend"):
        many_apps.command("app", state, app_id)
        for path in ("", f"/apps/{app_id}", f"/apps/{app_id}/keys"):
            page.goto(f"{many_apps.url}/portal{path}")
            look(f"{state} {path}")
    page.goto(f"{many_apps.url}/portal/apps/1")
    look("no such app")
    page.goto(f"{many_apps.url}/portal/new")
    page.get_by_label("Read only").evaluate("radio => { radio.checked = false }")
    page.get_by_label("Name").fill("x")
    page.get_by_role("button", name="Create the app").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose one of the permissions.")
    look("no permission")
    for field, value in (("Name", "\u200b"), ("Website", "https://a,b"), ("Callback URLs", "x")):
        page.get_by_label("Read only").check()
        page.get_by_label(field).fill(value)
        page.get_by_role("button", name="Create the app").click()
        expect(page.get_by_label(field)).to_have_attribute("aria-invalid", "true")
        expect(page.get_by_label(field)).to_have_value(value)
        look(f"bad {field}")
        page.get_by_label(field).fill("x" if field == "Name" else "")
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("most", [0, 3])
def test_pages_without_apps_and_at_the_limit(new_session, servers, most):
    server = servers(apps_per_account_max=str(most))
    set_password(server, "alice")
    server.command("account", "add", "nobody")
    set_password(server, "nobody")
    wrong = []
    for name in ("alice", "nobody"):
        session = new_session(server.url, **POCKET)
        session.open("/portal")
        page = session.sign_in(name, PASSWORD)
        session.expect_heading("Your apps")
        wrong += [f"{name}: {each}" for each in [*measure(page), *ask_axe(page, *SCHEMES)]]
        room = page.get_by_role("link", name="Create an app")
        expect(room).to_have_count(1 if (name, most) == ("nobody", 3) else 0)
        assert session.monitor.errors == []
    assert wrong == [], "\n".join(wrong)


def test_a_double_click_acts_once(sit):
    """The result of the first click is shown once. A second must not replace it."""
    page = sit().page
    before = page.get_by_role("listitem").count()
    page.get_by_role("link", name="Create an app").click()
    page.get_by_label("Name").fill("Double")
    page.get_by_label("Also create a bearer token").uncheck()
    page.wait_for_load_state()  # the script that ignores the second click
    page.get_by_role("button", name="Create the app").dblclick()
    expect(page.locator("#consumer-secret")).to_be_visible()
    for action, shown in (("generate_bearer", "bearer-token"), ("generate_token", "access-token")):
        page.wait_for_load_state()
        page.locator(f"button[value={action}]").dblclick()
        expect(page.locator(f"#{shown}")).to_be_visible()
    page.get_by_role("link", name="Your apps").click()
    expect(page.get_by_role("listitem")).to_have_count(before + 1)


def test_a_click_while_the_first_one_is_under_way(sit):
    """On a slow connection, the second request would be made too."""
    page = sit().page
    page.get_by_role("link", name="Create an app").click()
    page.get_by_label("Name").fill("Slow")
    page.wait_for_load_state()
    sent = []

    def delay(route):
        if route.request.method == "POST":
            sent.append(route.request.url)
            time.sleep(0.5)
        route.continue_()

    page.route("**/portal/**", delay)
    page.get_by_role("button", name="Create the app").evaluate(
        "button => { button.click(); setTimeout(() => button.click(), 200); }"
    )
    expect(page.locator("#consumer-secret")).to_be_visible()
    assert len(sent) == 1
