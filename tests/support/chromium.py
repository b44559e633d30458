"""Debian's Chromium, controlled by Playwright, and a monitor of its requests and errors."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, sync_playwright

from support.waiting import PATIENCE_S

# The first one has no window, toolbar or extensions: it needs a third of the processor time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = PATIENCE_S * 1000
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 800}


def find_chromium() -> str:
    """Return the path of the installed browser. Nothing is downloaded."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"none of {', '.join(NAMES)} is installed (Debian: apt-get install {NAMES[0]})"
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a headless browser. CI runs as root, and Chromium has no sandbox for root."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--font-render-hinting=none"],
            timeout=TIMEOUT_MS,
        )
        try:
            yield browser
        finally:
            browser.close()


class PageMonitor:
    """Records the requests of all pages of a context, and the errors that the browser reports."""

    def __init__(self, context: BrowserContext) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.on("request", self._note_request)
        context.on("console", self._note_message)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        # The browser reports every page with a 4xx status. The tests check statuses themselves.
        if not message.text.startswith("Failed to load resource: the server responded with"):
            self.errors.append(f"{message.type}: {message.text}")

    @property
    def origins(self) -> set[str]:
        """The origins to which the browser sent requests."""
        parts = (urlsplit(url) for url in self.requests)
        return {f"{each.scheme}://{each.netloc}" for each in parts}


def open_context(browser: Browser, **options: Any) -> BrowserContext:
    """Open a browser context without cookies. Its time zone is UTC, whatever the machine's is."""
    context = browser.new_context(**{"viewport": DESKTOP, "timezone_id": "UTC", **options})
    context.set_default_timeout(TIMEOUT_MS)
    return context
