"""A tour of every page in every state that a person can see."""

import re
from collections.abc import Iterator

from playwright.sync_api import Page, expect

from support.flows import PASSWORD
from support.third_party import ThirdParty
from support.world import RECENT


def walk(page: Page, origin: str, *, web: ThirdParty, desktop: ThirdParty) -> Iterator[str]:
    """Open every page as alice, starting signed out; yield its name.

    `web` has a callback on this machine, `desktop` has none.
    """
    page.goto(f"{origin}/")
    yield arrived(page, "welcome", "See how your Tweets do on Open Engagement")
    page.goto(f"{origin}/nowhere")
    yield arrived(page, "no such page for a visitor", "There is no such page")
    page.goto(f"{origin}/sign-in")
    yield "sign-in"
    page.locator("form").first.evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#password-fault")).to_be_visible()
    yield "sign-in without a name"
    yield from _let_in(page, web)
    page.goto(desktop.begin())
    yield "consent to a PIN"
    page.get_by_role("button", name="Authorize").click()
    yield arrived(page, "pin", f"Type this PIN into {desktop.name}")
    desktop.finish(page.locator("#pin").inner_text())
    for app, name in ((web, "denied"), (desktop, "denied a PIN")):
        page.goto(app.begin())
        page.get_by_role("button", name="Cancel").click()
        yield arrived(page, name, f"You did not authorize {app.name}")
    page.goto(f"{origin}/oauth/authorize?oauth_token=unknown")
    yield arrived(page, "request ended", "This request has ended")
    page.goto(f"{origin}/settings/nowhere")
    yield arrived(page, "no such page", "There is no such page")
    page.goto(f"{origin}/settings/apps/revoke")
    yield arrived(page, "no page for this address", "This address has no page")
    page.goto(f"{origin}/docs")
    page.locator("summary").first.click()
    yield arrived(page, "reference", "API reference")
    yield from _explore(page, origin)
    yield from _revoke(page, origin)
    yield from _share(page, origin)
    yield from _secure(page, origin)
    yield from _develop(page, origin, name=web.name)


def _let_in(page: Page, web: ThirdParty) -> Iterator[str]:
    page.goto(web.begin())
    yield "sign-in for an app"
    for password, name, heading in (
        ("not that", "sign-in refused", "Sign in to Open Engagement"),
        (PASSWORD, "consent", f"Authorize {web.name} to use your account?"),
    ):
        page.get_by_label("Screen name").fill("alice")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if name == "sign-in refused":
            expect(page.get_by_role("alert")).to_be_visible()
        yield arrived(page, name, heading)
    with page.expect_request(f"{web.callback}*") as sent:
        page.get_by_role("button", name="Authorize").click()
    callback = sent.value.url
    page.wait_for_url(lambda url: url == callback)
    web.finish_at(callback)


def _explore(page: Page, origin: str) -> Iterator[str]:
    page.goto(f"{origin}/")
    yield arrived(page, "overview", "Overview")
    page.goto(f"{origin}/explore")
    yield arrived(page, "my tweets", "My Tweets")
    page.get_by_label(RECENT).check()
    page.get_by_role("button", name="Show chart").click()
    expect(page.locator("#chart canvas")).to_be_visible()
    yield arrived(page, "chart", "Impressions of 1 Tweet")
    page.goto(f"{origin}/explore/compare?tweet_ids={RECENT}&start=2014-01-01")
    yield arrived(page, "chart refused", "Impressions of 1 Tweet")


def _revoke(page: Page, origin: str) -> Iterator[str]:
    page.goto(f"{origin}/settings/apps")
    yield arrived(page, "apps", "Apps and sessions")
    while page.locator("summary").count():
        page.locator("summary").first.click()
        yield "revocation asked"
        page.get_by_role("button", name="Revoke access").locator("visible=true").click()
        expect(page.locator("details[open]")).to_have_count(0)
        page.wait_for_load_state()  # before it, apps may be missing
    yield "no apps"


def _share(page: Page, origin: str) -> Iterator[str]:
    """Share figures with bob, and stop."""
    page.goto(f"{origin}/settings/sharing")
    yield arrived(page, "sharing", "Sharing")
    page.get_by_label("Screen name").fill("nobody-at-all")
    page.get_by_role("button", name="Share your figures").click()
    expect(page.get_by_role("alert")).to_contain_text("No account has this screen name")
    yield "sharing refused"
    page.get_by_label("Screen name").fill("bob")
    page.get_by_role("button", name="Share your figures").click()
    expect(page.get_by_role("status")).to_contain_text("@bob can see your figures now")
    page.locator("summary").first.click()
    yield "shared, stopping asked"
    page.get_by_role("button", name="Stop sharing").locator("visible=true").click()
    expect(page.get_by_role("heading", name="Only you can see your figures")).to_be_visible()


def _secure(page: Page, origin: str) -> Iterator[str]:
    """See the pages of the password and the second factor. Nothing of the account changes."""
    page.goto(f"{origin}/settings/security")
    yield arrived(page, "security", "Password and sign-in")
    page.get_by_label("Present password").fill(PASSWORD)
    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_contain_text("Write a password of 8 to 1,024 characters")
    yield "new password refused"
    page.get_by_role("link", name="Turn on the second factor").click()
    expect(page.locator(".qr")).to_be_visible()
    yield arrived(page, "second factor", "Turn on the second factor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Code").fill("12345")
    page.get_by_role("button", name="Turn it on").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is not valid")
    yield "second factor refused"
    page.goto(f"{origin}/sign-in/reset")
    yield arrived(page, "reset without mail", "Forgot your password?")
    page.goto(f"{origin}/sign-in/new-password?token=unknown")
    yield arrived(page, "link ended", "This link has ended")


def arrived(page: Page, name: str, heading: str) -> str:
    """Wait for the whole page with this heading; return the name."""
    expect(page.locator("h1")).to_have_text(heading)
    page.wait_for_load_state()
    return name


def _develop(page: Page, origin: str, *, name: str) -> Iterator[str]:
    """Create an app with every credential."""
    page.goto(f"{origin}/portal")
    yield arrived(page, "portal", "Your apps")
    page.get_by_role("link", name="Create an app").click()
    yield arrived(page, "new app", "Create an app")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Description").fill(name)
    page.get_by_label("Callback URLs").fill("tides.example")
    page.get_by_role("button", name="Create the app").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield arrived(page, "new app refused", "Create an app")
    page.get_by_label("Callback URLs").fill(f"https://tides.example/{name.replace(' ', '-')}")
    yield from _return(page)
    page.get_by_label("Also create a bearer token").uncheck()
    page.get_by_role("button", name="Create the app").click()
    yield arrived(page, "new app's keys", name)
    for what in ("bearer", "token"):
        page.locator(f"button[value=generate_{what}]").click()
        expect(page.locator(f"button[value=regenerate_{what}]")).to_have_count(1)
        yield f"new {what}"
    for summary in page.locator("summary").all():
        summary.click()
    yield "keys at stake"
    page.get_by_role("link", name="Settings", exact=True).click()
    expect(page.locator("#app-id")).to_be_visible()
    yield arrived(page, "settings", name)
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_role("status")).to_be_visible()
    yield "settings saved"
    yield from _try_the_app(page, name)


def _return(page: Page) -> Iterator[str]:
    """Send the form of a new app after the session has ended, and sign in again."""
    page.context.clear_cookies(name=re.compile("oe_session$"))
    page.get_by_role("button", name="Create the app").click()
    expect(page.locator("#kept")).to_be_visible()
    yield "sign-in for a late form"
    page.get_by_label("Screen name").fill("alice")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#kept-form")).to_be_visible()
    yield arrived(page, "late form", "Create an app")


def _try_the_app(page: Page, name: str) -> Iterator[str]:
    """Use the console, the usage and the callback tester of an app that waits."""
    page.get_by_role("link", name="Console", exact=True).click()
    expect(page.locator("#endpoint")).to_be_visible()
    page.locator("summary").first.click()
    yield arrived(page, "api console", name)
    ids = page.get_by_label("Tweet IDs").input_value()
    page.get_by_label("Tweet IDs").fill("mine")
    page.get_by_role("button", name="Sign and send").click()
    expect(page.locator("#tweet_ids-fault")).to_be_visible()
    yield arrived(page, "api console, wrong field", name)
    page.get_by_label("Tweet IDs").fill(ids or "1")
    page.get_by_role("button", name="Sign and send").click()
    expect(page.get_by_role("alert")).to_contain_text("not enabled")
    page.wait_for_load_state()
    for summary in page.locator("summary").all():
        summary.click()
    yield arrived(page, "api console refused", name)
    page.get_by_role("link", name="Usage", exact=True).click()
    expect(page.locator("#remaining")).to_be_visible()
    yield arrived(page, "app usage", name)
    page.get_by_role("link", name="Callback tester").click()
    yield arrived(page, "callback tester", name)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#authorize-url")).to_be_visible()
    yield "callback accepted"
    page.get_by_label("oauth_callback").fill("https://tides.example/")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not registered")
    yield "callback refused"


def walk_console(page: Page, origin: str, *, waiting: str, used: str) -> Iterator[str]:
    """Open every page of the manager's console as mira; yield its name.

    `waiting` and `used` are App IDs: of a waiting app, and of one that exceeded its contract.
    """
    page.goto(f"{origin}/sign-in?return_to=/manage")
    page.get_by_label("Screen name").fill("mira")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    yield arrived(page, "console", "Apps")
    row = page.locator(f'form[action="/manage/apps/{waiting}"]')
    expect(row).to_be_visible()
    row.get_by_label("Requests a minute").fill("many")
    row.get_by_role("button", name="Enable").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "console, limit refused"
    page.goto(f"{origin}/manage?q=nowhere")
    expect(page.get_by_role("heading", name="No app matches")).to_be_visible()
    yield "console finds nothing"
    page.goto(f"{origin}/manage/apps/{waiting}")
    yield "an app that waits"
    page.get_by_label("Requests a minute").fill("many")
    page.get_by_role("button", name="Save limits").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "limits refused"
    page.goto(f"{origin}/manage/apps/{used}?done=limits")
    for summary in page.locator("summary").all():
        summary.click()
    yield "an app, disabling asked"
    page.goto(f"{origin}/manage/usage")
    expect(page.get_by_role("row").filter(has_text=used)).to_be_visible()
    yield "usage"
    page.goto(f"{origin}/manage/usage?month=2001-02")
    yield "a month without usage"
    page.goto(f"{origin}/manage/system")
    yield arrived(page, "system", "System")
    page.goto(f"{origin}/manage/keys")
    yield arrived(page, "platform keys", "Platform keys")
    page.get_by_label("Name").fill("recorder-1")
    page.get_by_label("Days until it expires").fill("soon")
    page.get_by_role("button", name="Issue the key").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "key refused"
    page.get_by_label("Days until it expires").fill("3")
    page.get_by_role("button", name="Issue the key").click()
    expect(page.locator("#platform-key")).to_be_visible()
    page.locator("summary").first.click()
    yield arrived(page, "key issued", "Platform keys")
    yield from _add_a_webhook(page, origin)
    page.goto(f"{origin}/manage/accounts")
    page.locator("summary").first.click()
    yield arrived(page, "accounts", "Accounts")
    page.goto(f"{origin}/manage/audit")
    yield arrived(page, "audit log", "Audit log")


def _add_a_webhook(page: Page, origin: str) -> Iterator[str]:
    page.goto(f"{origin}/manage/webhooks")
    yield arrived(page, "webhooks", "Webhooks")
    page.get_by_label("URL").fill("https://10.0.0.1/")
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "webhook refused"
    page.get_by_label("URL").fill("https://hooks.example.com/engagement")
    page.get_by_role("button", name="Add the webhook").click()
    expect(page.locator("#webhook-secret")).to_be_visible()
    page.wait_for_load_state()
    for summary in page.locator("summary").all():
        summary.click()
        yield arrived(page, "webhook added", "Webhooks")
    page.get_by_role("button", name="Remove now").click()
    expect(page.get_by_role("heading", name="There are no webhooks")).to_be_visible()
