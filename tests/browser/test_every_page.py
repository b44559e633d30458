"""Every page in a desktop and a phone browser, light and dark: accessible and without errors."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.all_pages import walk, walk_console
from browser.tabbing import tab_through
from support.chromium import DESKTOP, PHONE
from support.flows import OOB, add_consumer
from support.openid_provider import Provider
from support.third_party import ThirdParty

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"
# WCAG 2.2, A and AA, and axe's best practices.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Rules that depend on colours; the others need only one colour scheme.
IN_THE_DARK = ["color-contrast", "link-in-text-block"]
RUN_AXE = "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})"
POCKET = {
    "viewport": PHONE,
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
    "reduced_motion": "reduce",
}
SCHEMES = ("light", "dark")
TOUCH_PX = 44
LINK_PX = 24  # WCAG 2.2, 2.5.8, for links outside of text
TOUR = [
    "welcome",
    "overview",
    "no such page for a visitor",
    "sign-in",
    "sign-in without a name",
    "sign-in for an app",
    "sign-in refused",
    "consent",
    "consent to a PIN",
    "pin",
    "denied",
    "denied a PIN",
    "request ended",
    "no such page",
    "no page for this address",
    "reference",
    "my tweets",
    "chart",
    "chart refused",
    "apps",
    "revocation asked",
    "no apps",
    "sharing",
    "sharing refused",
    "shared, stopping asked",
    "security",
    "new password refused",
    "second factor",
    "second factor refused",
    "reset without mail",
    "link ended",
    "portal",
    "new app",
    "new app refused",
    "sign-in for a late form",
    "late form",
    "new app's keys",
    "new bearer",
    "new token",
    "keys at stake",
    "settings",
    "settings saved",
    "api console",
    "api console, wrong field",
    "api console refused",
    "app usage",
    "callback tester",
    "callback accepted",
    "callback refused",
]


@pytest.fixture
def apps(web_app, desktop_app):
    return {"web": web_app, "desktop": desktop_app}


@pytest.fixture
def long_names(server, at, site):
    """Apps with names of the maximum length and without spaces."""
    name = "Donaudampfschiff" * 8
    site_of_it = f"https://{name.lower()[:60]}.example/{name}"
    callback = f"{site.url}/return?from=engagement"
    more = ["--website", site_of_it, "--description", name]
    web = add_consumer(server, name, "--callback", callback, *more)
    return {
        "web": ThirdParty(name, web, at=at, callback=callback),
        "desktop": ThirdParty(name, add_consumer(server, name, *more), at=at, callback=OOB),
    }


def stops(session, apps):
    """Yield the name of every page while it is open; no page may be missing."""
    seen = []
    for name in walk(session.page, session.origin, **apps):
        seen.append(name)
        yield name
    assert [name for name in TOUR if name not in seen] == []


def ask_axe(page, *schemes):
    """Return the violations that axe finds in these colour schemes."""
    page.wait_for_load_state()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        rules = IN_THE_DARK if scheme == "dark" else RULES
        for each in page.evaluate(RUN_AXE, rules)["violations"]:
            for node in each["nodes"]:
                yield f"{scheme}: {each['id']}: {node['html']} {node['failureSummary']}"


def test_axe_finds_a_planted_fault(new_session):
    session = new_session(reduced_motion="reduce")
    session.open("/sign-in")
    session.page.evaluate("document.querySelector('label[for=password]').style.color = '#777'")
    session.page.evaluate("document.querySelector('label').remove()")
    found = list(ask_axe(session.page, *SCHEMES))
    for wanted in ("light: label:", "light: color-contrast:", "dark: color-contrast:"):
        assert any(each.startswith(wanted) for each in found), found


def test_tab_finds_planted_faults(new_session):
    session = new_session(reduced_motion="reduce")
    session.open("/sign-in")
    assert list(tab_through(session.page)) == []
    session.page.evaluate(
        """() => {
          document.querySelector("#screen_name").style.outline = "none";
          const cover = document.createElement("div");
          cover.style = "position: fixed; inset: 0 0 auto; height: 60px; background: #fff";
          document.body.append(cover);
        }"""
    )
    found = list(tab_through(session.page))
    assert any(each.startswith('no focus ring: <input id="screen_name"') for each in found), found
    assert any(each.startswith("covered") and "brand" in each for each in found), found
    session.page.evaluate("document.querySelector('.skip').nextElementSibling.inert = true")
    assert any("never gets to" in each and "brand" in each for each in tab_through(session.page))


def test_every_page_on_a_desktop(new_session, apps, server, site):
    """axe-core finds nothing, and the Tab key gets to every control."""
    session = new_session(viewport=DESKTOP, reduced_motion="reduce")
    wrong = [
        f"{name}: {each}"
        for name in stops(session, apps)
        for each in (*ask_axe(session.page, *SCHEMES), *tab_through(session.page))
    ]
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url, site.url}


def test_every_page_on_a_phone(new_session, apps, server, site):
    """axe-core finds nothing, nothing scrolls sideways, and touch targets are large enough."""
    session = new_session(**POCKET)
    wrong = []
    for name in stops(session, apps):
        found = [*measure(session.page), *ask_axe(session.page, "light")]
        wrong += [f"{name}: {each}" for each in found]
    assert wrong == [], "\n".join(wrong)
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url, site.url}


CONSOLE = [
    "console",
    "console, limit refused",
    "console finds nothing",
    "an app that waits",
    "limits refused",
    "an app, disabling asked",
    "usage",
    "a month without usage",
    "system",
    "platform keys",
    "key refused",
    "key issued",
    "webhooks",
    "webhook refused",
    "webhook added",
    "webhook added",
    "accounts",
    "audit log",
]


@pytest.mark.parametrize("pocket", [False, True], ids=["desk", "phone"])
def test_the_managers_console(new_session, console, server, pocket):
    session = (
        new_session(**POCKET) if pocket else new_session(viewport=DESKTOP, reduced_motion="reduce")
    )
    wrong, seen = [], []
    for name in walk_console(session.page, session.origin, **vars(console)):
        seen.append(name)
        misfits = [*(measure if pocket else tab_through)(session.page)]
        wrong += [f"{name}: {each}" for each in [*misfits, *ask_axe(session.page, *SCHEMES)]]
    assert wrong == [], "\n".join(wrong)
    assert seen == CONSOLE
    assert session.monitor.errors == []
    assert session.monitor.origins == {server.url}


def test_long_names_on_a_phone(new_session, long_names):
    session = new_session(**POCKET)
    wrong = [
        f"{name}: {each}" for name in stops(session, long_names) for each in measure(session.page)
    ]
    assert wrong == [], "\n".join(wrong)


def test_sign_in_through_a_provider(new_session, servers):
    with Provider() as provider:
        session = new_session(servers(**provider.settings).url, **POCKET)
        # No content: a browser that is sent there stays where it is.
        session.context.route(f"{provider.issuer}/**", lambda sent: sent.fulfill(status=204))
        page, wrong = session.open("/sign-in"), []
        for heading in ("Sign in to Open Engagement", "One moment"):
            session.expect_heading(heading)
            wrong += [*measure(page), *ask_axe(page, *SCHEMES)]
            page.get_by_role("button", name="Continue with Harbour ID").or_(
                page.get_by_role("link", name="Continue", exact=True)
            ).click()
        session.open("/sign-in/oidc/callback?state=unknown&code=unknown")
        expect(page.get_by_role("alert")).to_contain_text("This sign-in has ended")
        wrong += [*measure(page), *ask_axe(page, *SCHEMES)]
    assert wrong == [], "\n".join(wrong)


def measure(page):
    """Return elements that overflow the page or are too small to touch."""
    page.wait_for_load_state()
    return page.evaluate(MISFITS, [TOUCH_PX, LINK_PX])


MISFITS = """([touch, link]) => {
  const found = [];
  const wide = document.scrollingElement.scrollWidth;
  if (wide > innerWidth || innerWidth !== 360) found.push(`${wide} px in ${innerWidth}`);
  const seen = (element) => element.checkVisibility() && !element.closest(".skip");
  const inText = (element) => [...element.parentElement.childNodes].some(
    (node) => node !== element && node.textContent.trim());
  const usable = "a, button, input, select, textarea, summary";
  for (const each of [...document.querySelectorAll(usable)].filter(seen)) {
    // A finger may as well hit the label that a choice stands in.
    const box = (each.closest("label") ?? each).getBoundingClientRect();
    const least = each.matches("a:not(.button)") ? (inText(each) ? 0 : link) : touch;
    if (each.type !== "hidden" && (box.height < least || box.width < least))
      found.push(`${each.outerHTML} is ${box.width} x ${box.height}`);
    // What a table or a row of tabs holds scrolls within it.
    if (each.type !== "hidden" && !each.closest(".scroll, .tabs")
        && (box.left < 0 || box.right > innerWidth))
      found.push(`${each.outerHTML} is cut off`);
  }
  return found;
}"""
