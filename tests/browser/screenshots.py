"""Take the screenshots under docs/screenshots/ from a server of its own.

`make screenshots` runs it. Names of people, apps and the platform are invented.
"""

import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

# A script needs this for `import support`; pytest does it for tests.
sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import Browser, Page

from browser.demo_tweets import publish
from openengagement.engagement.months import month_of, months_until
from openengagement.registry.audit import Actor
from openengagement.registry.opening import open_registry
from support.chromium import DESKTOP, PHONE, chromium, open_context
from support.cli import call_command
from support.flows import OOB, PASSWORD, Consumer, Endpoints, set_password
from support.listener import Listener
from support.person import Person
from support.server import Server
from support.third_party import ThirdParty
from support.world import HOUR_S

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
ANDROID = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 Chrome/156.0.0.0 Mobile Safari/537.36"
PLATFORM = "Larkspur"
PERSON, PERSON_ID = "mira_holm", "7001"
MANAGER = "ines_varga"
# Name, owner, website, description, access level, whether there is a callback.
APPS = (
    (
        "Tidewater Analytics",
        "tidewater",
        "https://tidewater.example",
        "Weekly reports on how far your posts travelled.",
        "read",
        True,
    ),
    ("Pressroom Desk", "pressroom", "https://pressroom.example/desk", "", "read-write", False),
    ("Marlow Insights", "marlow", "https://marlow.example", "", "read", True),
)
EXPLORER = ("overview", "explore", "explore-chart")
# The person's own apps: name, description, a manager's decision.
OWN_APPS = (
    ("Harbour Report", "Every Monday: how far the week's posts travelled.", ("enable",)),
    ("Old Newsletter", "", ("enable", "suspend")),
    ("Tide Tables", "Tells when to post.", ()),
)
# Viewport, further browser options, and the pages that are also taken in dark mode.
VIEWS = (
    (DESKTOP, {}, {"consent", "apps", "portal-keys", *EXPLORER}),
    (
        PHONE,
        {"device_scale_factor": 2, "user_agent": ANDROID},
        {"consent", "sign-in", "portal-settings", *EXPLORER},
    ),
)
# Taken as the window shows them: a sticky element would appear in the middle of a full page.
WINDOWED = {"explore"}
# Hours since each app was authorized and used.
AGES_H = ((1310, 1), (412, 70), (26, 3))
# Usage of the apps above: answered, refused by reason, handles, contracted handles.
USED: tuple[tuple[int, dict[str, int], int, int | None], ...] = (
    (48_213, {"rate_limited": 911, "invalid_field": 12}, 312, 500),
    (9_120, {"forbidden_tweets": 3}, 231, 200),
    (1_450, {}, 18, None),
)
WAITING = (("Quay Charts", "pressroom", 0), ("Lantern Weekly", "marlow", 37))


def main() -> None:
    """Take every screenshot."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Listener() as site:
        data = Path(folder, "data")
        call_command(data, "account", "add", PERSON, "--id", PERSON_ID)
        for owner in (owner for _, owner, *_ in APPS):
            call_command(data, "account", "add", owner)
        call_command(data, "account", "add", MANAGER, "--role", "manager")
        publish(data, PERSON_ID, now_s=time.time())
        world = SimpleNamespace(folder=data, secrets=[])
        with Server(world, settings={"platform_name": PLATFORM}) as server:
            for screen_name in (PERSON, MANAGER):
                set_password(server, screen_name)
            apps = [_register(server, site, app=each) for each in APPS]
            _live(server, apps)
            for name, description, fate in OWN_APPS:
                _register_own(server, name, description=description, fate=fate)
            with chromium() as browser:
                _take_all(browser, server, apps=apps)
                _take_console(browser, server, apps=apps)


def _register(
    server: Server, site: Listener, *, app: tuple[str, str, str, str, str, bool]
) -> ThirdParty:
    name, owner, website, description, access, returns = app
    # A page shows the host of a callback. This one is never opened.
    callback = f"{website}/signed-in" if returns else OOB
    options = ["--callback", callback] if returns else []
    made = server.command(
        *("app", "add", name, "--owner", owner, "--website", website, "--access", access),
        *("--description", description, *options),
    )
    server.command("app", "enable", made["app_id"])
    consumer = Consumer(made["app_id"], made["consumer_key"], made["consumer_secret"])
    return ThirdParty(name, consumer, at=Endpoints(server.url), callback=callback)


def _register_own(server: Server, name: str, *, description: str, fate: tuple[str, ...]) -> None:
    said = ("--description", description, "--callback", "https://larkspur.example/signed-in")
    made = server.command("app", "add", name, "--owner", PERSON, *said)
    for verb in fate:
        server.command("app", verb, made["app_id"])


def _live(server: Server, apps: list[ThirdParty]) -> None:
    """Prepare the person's account: authorized apps, their use, and a second session."""
    with Person(server.url, PERSON, PASSWORD) as person:
        person.http.headers["User-Agent"] = "Mozilla/5.0 (iPhone; CPU iPhone OS) Safari/604.1"
        for app in apps:
            if app.callback == OOB:
                app.finish(person.authorize_pin(app.begin()))
            else:
                app.finish_at(person.authorize(app.begin()))
    _backdate(server.data / "registry.sqlite3")


def _backdate(registry: Path) -> None:
    """Spread the recorded times over some weeks."""
    with contextlib.closing(sqlite3.connect(registry)) as database, database:
        tokens = database.execute("SELECT token FROM access_tokens ORDER BY rowid").fetchall()
        for (token,), (authorized_h, used_h) in zip(tokens, AGES_H, strict=True):
            database.execute(
                "UPDATE access_tokens SET created_at_s = created_at_s - ?,"
                " last_used_s = created_at_s - ? WHERE token = ?",
                (authorized_h * HOUR_S + 1009, used_h * HOUR_S, token),
            )
        database.execute(
            "UPDATE sessions SET created_at_s = created_at_s - ?, last_seen_s = last_seen_s - ?",
            (100 * HOUR_S + 2003, 7 * HOUR_S + 503),
        )


def _take_all(browser: Browser, server: Server, *, apps: list[ThirdParty]) -> None:
    for viewport, options, dark in VIEWS:
        with open_context(
            browser, viewport=viewport, reduced_motion="reduce", **options
        ) as context:
            page = context.new_page()
            for name in _visit(page, server.url, web=apps[0], desktop=apps[1]):
                schemes = ("light", "dark") if name in dark else ("light",)
                full = name not in WINDOWED
                _take(page, f"{name}-{viewport['width']}", schemes=schemes, full=full)


def _take(
    page: Page, name: str, *, schemes: tuple[Literal["light", "dark"], ...], full: bool = True
) -> None:
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        path = FOLDER / f"{name}-{scheme}.png"
        page.screenshot(path=path, full_page=full, animations="disabled")
        print(path.name, path.stat().st_size)


def _take_console(browser: Browser, server: Server, *, apps: list[ThirdParty]) -> None:
    """The manager's console with a month of usage and two waiting apps."""
    _use(server, [int(app.consumer.app_id) for app in apps])
    app_id = apps[0].consumer.app_id
    pages = {
        "manage": "/manage",
        "manage-app": f"/manage/apps/{app_id}",
        "manage-usage": "/manage/usage",
        "manage-audit": "/manage/audit",
    }
    for viewport, options, _ in VIEWS:
        with open_context(
            browser, viewport=viewport, reduced_motion="reduce", **options
        ) as context:
            page = context.new_page()
            page.goto(f"{server.url}/sign-in?return_to=/manage")
            page.get_by_label("Screen name").fill(MANAGER)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", name="All apps").wait_for()
            for name, path in pages.items():
                page.goto(server.url + path)
                _take(page, f"{name}-{viewport['width']}", schemes=("light", "dark"))


def _use(server: Server, app_ids: list[int]) -> None:
    for name, owner, _ in WAITING:
        made = server.command("app", "add", name, "--owner", owner)
        app_ids.append(int(made["app_id"]))
    used = [*USED, *((0, {"app_not_enabled": refused}, 0, None) for *_, refused in WAITING)]
    with contextlib.closing(open_registry(server.data)) as registry:
        manager = registry.accounts.find_account(MANAGER)
        assert manager
        accounts = [(5_000 + at, f"author_{at}", False) for at in range(600)]
        registry.accounts.apply_accounts(accounts, now_s=int(time.time()))
        months = months_until(month_of(time.time()), 3)
        for app_id, (answered, refused, handles, contracted) in zip(app_ids, used, strict=True):
            values: dict[str, bool | int | None] = {"handles_contracted": contracted}
            if contracted:
                values["per_minute"] = contracted * 2
            registry.decisions.change_app(
                app_id, values, actor=Actor(MANAGER, manager.id), now_s=int(time.time())
            )
            for at, month in enumerate(months if answered else months[:1]):
                outcomes = {"ok": answered - answered // 9 * at, **refused}
                authors = range(5_000, 5_000 + max(handles - 9 * at, 0))
                registry.accounts.apply_accounts(
                    [(author, f"author{author}", False) for author in authors], now_s=0
                )
                registry.usage.add_usage(
                    {(month, app_id, name): count for name, count in outcomes.items() if count},
                    {(month, app_id, author) for author in authors},
                )


def _visit(page: Page, origin: str, *, web: ThirdParty, desktop: ThirdParty) -> Iterator[str]:
    """Open every page in turn; yield its name."""
    page.goto(f"{origin}/")
    yield "welcome"
    page.goto(web.begin(screen_name=PERSON))
    yield "sign-in"
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Authorize").wait_for()
    yield "consent"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="You did not").wait_for()
    yield "denied"
    page.goto(desktop.begin())
    page.get_by_role("button", name="Authorize").click()
    page.locator("#pin").wait_for()
    yield "pin"
    page.goto(f"{origin}/settings/apps")
    yield "apps"
    page.goto(f"{origin}/overview")
    yield "overview"
    page.goto(f"{origin}/explore")
    for box in page.locator(".pick input").all()[:4]:
        box.check()
    page.mouse.move(0, 0)
    yield "explore"
    page.get_by_role("button", name="Show chart").click()
    page.locator("#chart canvas").wait_for()
    yield "explore-chart"
    page.goto(web.at.authorize + "?oauth_token=used")
    yield "error"
    yield from _develop(page, origin)


def _develop(page: Page, origin: str) -> Iterator[str]:
    page.goto(f"{origin}/portal")
    yield "portal"
    page.get_by_role("link", name="Create an app").click()
    page.get_by_label("Name").fill("Ferry Times")
    page.get_by_label("Description").fill("When the readers of each port look.")
    page.get_by_label("Callback URLs").fill("https://ferries.example/signed-in")
    page.get_by_label("Website").fill("https://ferries.example")
    yield "portal-new"
    page.goto(f"{origin}/portal")
    page.get_by_role("link", name="Harbour Report", exact=True).click()
    page.locator("#app-id").wait_for()
    yield "portal-settings"
    page.get_by_role("link", name="Keys and tokens").click()
    for action in ("generate_token", "regenerate_key"):
        button = page.locator(f"button[value={action}]")
        if button.count() and not button.is_visible():
            page.locator("details", has=button).locator("summary").click()
        if button.count():
            button.click()
            page.get_by_role("status").wait_for()
    yield "portal-keys"


if __name__ == "__main__":
    main()
