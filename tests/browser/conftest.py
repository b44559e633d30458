"""Fixtures of the browser tests."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from openengagement.engagement.months import month_of
from openengagement.registry.opening import open_registry
from support.chromium import TIMEOUT_MS, PageMonitor, chromium, open_context
from support.fixtures import server, servers, world
from support.flows import OOB, PASSWORD, Endpoints, add_consumer, add_manager, set_password
from support.listener import Listener
from support.third_party import ThirdParty
from support.world import DAY_S, show_time

__all__ = ["server", "servers", "world"]

expect.set_options(timeout=TIMEOUT_MS)
TEXTS = (
    "Low water at six, and the whole bay is ours. " * 4,
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643\u0645 123",
    "Donaudampfschifffahrtsgesellschaftskapit\u00e4nsm\u00fctzenausstellungser\u00f6ffnung",
    "\U0001f468\u200d\U0001f680 \U0001f6a2",
)


# While it is open, Playwright runs an event loop in this thread, and no other may run:
# it must be closed before the tests of another folder begin.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def site() -> Iterator[Listener]:
    """The website of the apps."""
    with Listener() as running:
        yield running


@pytest.fixture(scope="package")
def people(server) -> None:
    for screen_name in ("alice", "bob"):
        set_password(server, screen_name)


@pytest.fixture(scope="package")
def at(server) -> Endpoints:
    return Endpoints(server.url)


@pytest.fixture(scope="package")
def console(server) -> SimpleNamespace:
    """A manager, a waiting app, and an app that exceeded its contract this month.

    If the month ends soon, the second app has also done so in the next one. A third app was used
    too. Its name is as long as a name may be, without a space.
    """
    add_manager(server, "mira")
    names = ("Harbour Charts", "Tidewater Analytics", "Donaudampfschiff" * 8)
    waiting, used, long = (
        server.command("app", "add", name, "--owner", "bob")["app_id"] for name in names
    )
    server.command("app", "enable", used, "--per-minute", "600", "--handles", "2")
    registry = open_registry(server.data)
    for month in {month_of(time.time()), month_of(time.time() + DAY_S)}:
        registry.usage.add_usage(
            {
                (month, int(used), "ok"): 41_213,
                (month, int(used), "rate_limited"): 911,
                (month, int(long), "ok"): 7,
            },
            {(month, int(used), account) for account in (101, 202, 303)},
        )
    registry.close()
    return SimpleNamespace(waiting=waiting, used=used)


@pytest.fixture(scope="package")
def greta(server, people):
    """An author with Tweets of all kinds and large numbers, in every hour of two weeks."""
    server.command("account", "add", "greta", "--id", "808")
    set_password(server, "greta")
    now_s = time.time()
    tweets = [
        {
            "id": str(90_000 + at),
            "author_id": "808",
            "created_at": show_time(now_s - 300 * 3600),
            "text": text,
            "url": f"https://www.example.com/posts/{at}",
        }
        for at, text in enumerate(TEXTS)
    ]
    tweets.append({"id": "90009", "author_id": "808", "created_at": show_time(now_s - 90_000)})
    events = [
        {
            "tweet_id": tweet["id"],
            "type": name,
            "at": show_time(now_s - 3600 * hour),
            "count": count,
        }
        for at, tweet in enumerate(tweets)
        for hour in range(at, 336, 5)
        for name, count in (
            ("impressions", 91_234 + 40 * hour),
            ("favorites", 2000 + hour),
            ("url_clicks", 7),
            ("user_follows", 1),
        )
    ]
    events.append(
        {
            "tweet_id": "90000",
            "type": "impressions",
            "at": show_time(now_s - 7200),
            "count": 1_000_000_000,
        }
    )
    for what, rows in (("tweets", tweets), ("events", events)):
        path = server.data.parent / f"greta-{what}.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        server.command("load", what, str(path))
    return "greta"


@pytest.fixture
def web_app(server, at, site) -> ThirdParty:
    """An app that people may sign in with and that nobody has authorized."""
    callback = f"{site.url}/return?from=engagement"
    options = ["--website", "https://tides.example", "--description", "Tells when to post."]
    consumer = add_consumer(server, "Tide Tables", "--callback", callback, "--sign-in", *options)
    return ThirdParty("Tide Tables", consumer, at=at, callback=callback)


@pytest.fixture
def desktop_app(server, at) -> ThirdParty:
    """An app without a callback URL, which uses PINs."""
    return ThirdParty("Log Book", add_consumer(server, "Log Book"), at=at, callback=OOB)


class BrowserSession:
    """A person's browser: one window, and a monitor on it."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.context = context
        self.origin = origin
        self.monitor = PageMonitor(context)
        self.page: Page = context.new_page()

    def open(self, path: str) -> Page:
        """Open a URL, or a path of the server."""
        self.page.goto(path if "://" in path else self.origin + path)
        return self.page

    def sign_in(self, screen_name: str = "alice", password: str = PASSWORD) -> Page:
        """Fill in the sign-in form and submit it. Returns when the next page is there."""
        self.page.get_by_label("Screen name").fill(screen_name)
        self.page.get_by_label("Password").fill(password)
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Sign in").click()
        return self.page

    def follow(self, url: str) -> Page:
        """Follow an app's link and sign in."""
        self.open(url)
        return self.sign_in()

    def expect_heading(self, text: str) -> None:
        """Wait for the page with this heading, until its scripts have run."""
        expect(self.page.locator("h1")).to_have_text(text)
        self.page.wait_for_load_state()

    def stop_clock(self) -> None:
        """Stop the clock of the page. Its timers wait for `page.clock.run_for`."""
        self.page.clock.install(time=0)
        self.page.clock.pause_at(DAY_S)

    def expect_zone(self, name: str) -> None:
        """Wait until a page has told its zone to the server, and is there again with this zone."""
        expect(self.page.locator("[data-zone]")).to_have_attribute("data-zone", re.compile(name))
        self.page.wait_for_load_state()


@pytest.fixture
def new_session(browser, server, people) -> Iterator[Callable[..., BrowserSession]]:
    """New browsers on demand, closed after the test."""
    with ExitStack() as stack:

        def open_session(origin: str = server.url, **options: object) -> BrowserSession:
            context = stack.enter_context(open_context(browser, **options))
            return BrowserSession(context, origin)

        yield open_session


@pytest.fixture
def session(new_session, server, site) -> Iterator[BrowserSession]:
    """One new browser. Its pages must cause no error and contact no other server."""
    made = new_session()
    yield made
    assert made.monitor.errors == []
    assert made.monitor.origins <= {server.url, site.url}
