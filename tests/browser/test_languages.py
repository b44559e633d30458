"""The pages in German: accessible, nothing cut off, and in the language of the reader."""

import re

import pytest
from playwright.sync_api import expect

from browser.clipping import cut_numbers
from browser.test_every_page import POCKET, SCHEMES, ask_axe, measure
from browser.test_explore import focus_chart
from support.chromium import DESKTOP
from support.flows import PASSWORD, set_password

DESK = {"viewport": DESKTOP, "reduced_motion": "reduce"}
PAGES = (
    "/overview",
    "/overview?period=28h&metric=engagement_rate",
    "/overview?period=custom&first=2026-01-01&last=nonsense",
    "/explore",
    "/explore?sort=impressions&q=a",
    "/explore?q=no+such+words",
    "/portal",
    "/portal/new",
    "/settings/apps",
    "/settings/sharing",
    "/settings/security",
    "/docs",
    "/no/such/page",
)
CONSOLE = (
    "/manage",
    "/manage?state=waiting&q=zzz",
    "/manage/usage",
    "/manage/system",
    "/manage/keys",
    "/manage/accounts",
    "/manage/audit",
)
# Words that German pages do not have: a text was not translated.
ENGLISH = re.compile(r"\b(the|your|with|these|which|since|shown|cannot)\b", re.IGNORECASE)
# Of the page's own texts, without what is marked as another language, as code or as a name.
OWN_TEXTS = """() => {
  const foreign = "[lang=en], [translate=no], [dir=auto], code, pre, script, .origin";
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = texts.nextNode(); node; node = texts.nextNode())
    if (!node.parentElement.closest(foreign)) found.push(node.textContent.trim());
  return found.filter(Boolean);
}"""
# Texts that their box cuts off, with an ellipsis or without one.
CUT_TEXTS = """() => {
  const scrolls = ".visually-hidden, .skip, .scroll, .tabs, .name, .brand";
  const texts = "h1, h2, h3, a, button, summary, label, dt, dd, p, th, td";
  const shown = [...document.querySelectorAll(texts)]
    .filter((each) => each.checkVisibility() && !each.closest(scrolls));
  const cut = (each) => getComputedStyle(each).overflow !== "visible"
    && each.scrollWidth > each.clientWidth + 1;
  return shown.filter(cut).map((each) => `${each.tagName} ${each.textContent.trim()}`);
}"""


def enter(session, screen_name="alice"):
    page = session.open("/sign-in")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.get_by_label("Benutzername").fill(screen_name)
    page.get_by_label("Passwort").fill(PASSWORD)
    with page.expect_navigation():
        page.get_by_role("button", name="Anmelden").click()
    return page


def check(page, path, *, pocket):
    """Yield what is wrong with an open page."""
    if pocket:
        yield from measure(page)
    yield from ask_axe(page, *SCHEMES)
    yield from page.evaluate(CUT_TEXTS)
    if path != "/docs":  # its tables scroll, and its content is English
        yield from cut_numbers(page)
        yield from (text for text in page.evaluate(OWN_TEXTS) if ENGLISH.search(text))
    if page.locator("html").get_attribute("lang") != "de":
        yield "the page does not say its language"


@pytest.mark.parametrize("pocket", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize(("name", "paths"), [("alice", PAGES), ("mira", CONSOLE)])
def test_german_pages(new_session, console, server, name, paths, pocket):
    session = new_session(**(POCKET if pocket else DESK), locale="de-DE")
    wrong = []
    for path in ("/", "/sign-in", "/sign-in/reset"):
        page = session.open(path)
        wrong += [f"{path}: {each}" for each in check(page, path, pocket=pocket)]
    page = enter(session, name)
    apps = [f"/manage/apps/{console.used}", f"/manage/apps/{console.waiting}"]
    for path in (*paths, *(apps if name == "mira" else ())):
        page = session.open(path)
        wrong += [f"{path}: {each}" for each in check(page, path, pocket=pocket)]
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.origins == {server.url}


@pytest.fixture(scope="module")
def lena(server):
    """A developer without apps: an account may have only so many, and others have some by now."""
    server.command("account", "add", "lena")
    set_password(server, "lena")
    return "lena"


@pytest.mark.parametrize("pocket", [False, True], ids=["desk", "phone"])
def test_a_german_developer(new_session, lena, pocket):
    session = new_session(**(POCKET if pocket else DESK), locale="de-DE")
    page = enter(session, lena)
    session.open("/portal/new")
    page.locator("#name").fill("Gezeitentafel")
    with page.expect_navigation():
        page.get_by_role("button", name="App anlegen").click()
    app = page.url.partition("/keys")[0]
    wrong = [f"keys: {each}" for each in check(page, "keys", pocket=pocket)]
    expect(page.get_by_text("Sie wartet auf eine Entscheidung")).to_be_visible()
    for path in (app, f"{app}/console", f"{app}/usage", f"{app}/callback"):
        page = session.open(path)
        wrong += [f"{path}: {each}" for each in check(page, path, pocket=pocket)]
    session.open(app)
    page.locator("details.confirm summary").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Jetzt löschen").click()
    assert wrong == [], "\n".join(wrong)


def test_a_person_switches_the_language(new_session):
    session = new_session(**DESK)
    page = session.open("/sign-in?return_to=/overview")
    session.expect_heading("Sign in to Open Engagement")
    page.get_by_role("button", name="Deutsch").click()
    session.expect_heading("Bei Open Engagement anmelden")
    expect(page).to_have_url(re.compile(r"/sign-in\?return_to="))
    expect(page.get_by_role("button", name="Deutsch")).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="English").click()
    session.expect_heading("Sign in to Open Engagement")


def test_scripts_speak_german(new_session):
    session = new_session(**DESK, locale="de-DE", timezone_id="Europe/Berlin")
    page = enter(session)
    session.expect_zone("Berlin")
    session.open("/overview?metric=engagements")
    area = page.locator("#plot .area")
    expect(area).to_have_attribute("aria-label", re.compile("die Pfeiltasten lesen die Werte vor"))
    session.open("/explore")
    page.locator(".pick input").first.check()
    expect(page.locator("#picked")).to_have_text("1 von höchstens 25 ausgewählt")
    page.locator("#compare, .tray .primary").first.click()
    expect(page.locator("#readout")).to_contain_text("Zeigen Sie auf das Diagramm")
    focus_chart(page)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text(re.compile(r"\d+\. \w+\.?, \d\d:\d\d"))
    assert session.monitor.errors == []


def test_a_platform_has_its_own_look(new_session, servers, tmp_path):
    logo = tmp_path / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"/>')
    server = servers(
        platform_name="Tides", logo=str(logo), accent_color="#7a1fa2", accent_color_dark="#e0a8f5"
    )
    session = new_session(server.url, **DESK)
    page = session.open("/")
    mark = page.locator(".brand img")
    assert mark.evaluate("image => image.complete && image.naturalWidth") == 40
    link = page.locator(".button.primary").first
    assert link.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(122, 31, 162)"
    assert list(ask_axe(page, *SCHEMES)) == []
    page.emulate_media(color_scheme="dark")
    assert link.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(224, 168, 245)"
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}
