"""A person with a browser, over plain HTTP: opens pages, fills in forms, presses buttons.

It knows nothing of a page but what the page holds. What a browser adds to a form by itself (Origin,
Sec-Fetch-*) and what it enforces (a form may only lead where the page's policy lets it) is here
too, so that a page which works for this person works in a browser.
"""

import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from html import unescape
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from support.stores import wait_for_change_at
from support.waiting import PATIENCE_S

HOPS_MAX = 10
REDIRECTS = (301, 302, 303)
_VOID = {"br", "circle", "hr", "img", "input", "link", "meta", "path", "rect", "source", "wbr"}
_NEVER_SENT = {"button", "file", "image", "reset", "submit"}
_QUOTED = r"""(?:"[^"]*"|'[^']*')"""
_MARKUP = re.compile(
    rf"""<!--.*?-->|<!doctype[^>]*>|</(?P<closed>[a-z][a-z0-9]*)\s*>
    |<(?P<opened>[a-z][a-z0-9]*)(?P<attributes>(?:[^>"']++|{_QUOTED})*+)>""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_ATTRIBUTE = re.compile(rf"""(?P<name>[^\s=/"'>]+)(?:\s*=\s*(?P<value>{_QUOTED}|[^\s"'>]+))?""")

Pairs = list[tuple[str, str]]


@dataclass
class Form:
    """A form of a page: its fields with their values, and its buttons."""

    action: str
    method: str
    fields: Pairs = field(default_factory=list)
    buttons: Pairs = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in [*self.fields, *self.buttons]}

    def can_send(self, name: str, value: str) -> bool:
        """Return whether a button or field of the form has this name and value."""
        return (name, value) in [*self.fields, *self.buttons]

    def filled(self, **values: str) -> Pairs:
        """Return what the form sends with these values of fields and these pressed buttons."""
        sent = [(name, values.pop(name, value)) for name, value in self.fields]
        for pressed in values.items():
            assert pressed in self.buttons, f"the form has no {pressed}: {self}"
            sent.append(pressed)
        return sent


class _Reader:
    """Collects forms, and the text and link of every element that has an id.

    The pages of the server are well-formed, so the HTML is split by an expression. `html.parser`
    takes twice as long, for the same result.
    """

    def __init__(self, html: str) -> None:
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self._texts: list[str] = []
        self._places: dict[str, tuple[int, int]] = {}  # of an element with an id, in `_texts`
        self._open: list[tuple[str, str | None]] = []
        self._form: Form | None = None
        self._select: str | None = None
        self._textarea: str | None = None
        end = 0
        for markup in _MARKUP.finditer(html):
            self._read_text(html[end : markup.start()])
            end = markup.end()
            if markup["opened"]:
                self._begin(markup["opened"].lower(), markup["attributes"])
            elif markup["closed"]:
                self._end(markup["closed"].lower())
        self._read_text(html[end:])
        self._end("")

    @property
    def texts(self) -> dict[str, str]:
        return {id_: "".join(self._texts[slice(*place)]) for id_, place in self._places.items()}

    def _begin(self, tag: str, attributes: str) -> None:
        given = {
            found["name"].lower(): _value_of(found["value"] or "")
            for found in _ATTRIBUTE.finditer(attributes)
        }
        id_ = given.get("id")
        if tag not in _VOID and not attributes.endswith("/"):
            self._open.append((tag, id_))
        if id_ is not None:
            assert id_ not in self._places, f"two elements have the id {id_!r}"
            self._places[id_] = (len(self._texts), len(self._texts))
            if "href" in given:
                self.links[id_] = given["href"]
        if tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").upper())
            self.forms.append(self._form)
        elif self._form is not None and "disabled" not in given:
            self._read_control(self._form, tag, given)

    def _read_control(self, form: Form, tag: str, given: Mapping[str, str]) -> None:
        name, kind = given.get("name"), given.get("type", "")
        if tag == "select":
            self._select = name
        elif tag == "textarea" and name is not None:
            self._textarea = name
            form.fields.append((name, ""))
        elif tag == "option" and self._select and "selected" in given:
            form.fields.append((self._select, given.get("value", "")))
        elif name is None:
            return
        elif (tag == "button" and kind in {"", "submit"}) or (tag, kind) == ("input", "submit"):
            form.buttons.append((name, given.get("value", "")))
        elif tag == "input" and kind in {"checkbox", "radio"}:
            if "checked" in given:
                form.fields.append((name, given.get("value", "on")))
        elif tag == "input" and kind not in _NEVER_SENT:
            form.fields.append((name, given.get("value", "")))

    def _end(self, tag: str) -> None:
        """Close the last element of this tag, with all that it contains."""
        opened = ""
        while self._open and opened != tag:
            opened, id_ = self._open.pop()
            if id_ is not None:
                self._places[id_] = (self._places[id_][0], len(self._texts))
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None

    def _read_text(self, escaped: str) -> None:
        if not escaped:
            return
        text = unescape(escaped)
        self._texts.append(text)
        if self._textarea is not None and self._form is not None:
            name, before = self._form.fields.pop()
            # A line break right after the tag is not part of it.
            self._form.fields.append((name, before + text if before else text.removeprefix("\n")))


def _value_of(written: str) -> str:
    """Return the value of an attribute."""
    return unescape(written[1:-1] if written[:1] in ('"', "'") else written)


@dataclass(frozen=True)
class Page:
    """An open page. `left_for` is the URL of a redirect to another site, which is not followed."""

    response: httpx.Response
    left_for: str | None = None

    @cached_property
    def _read(self) -> _Reader:
        """The content of the page, which many tests do not look at."""
        is_html = self.response.headers.get("content-type", "").startswith("text/html")
        return _Reader(self.html if is_html else "")

    @property
    def forms(self) -> list[Form]:
        return self._read.forms

    @cached_property
    def texts(self) -> Mapping[str, str]:
        return self._read.texts

    @property
    def links(self) -> Mapping[str, str]:
        return self._read.links

    @property
    def url(self) -> str:
        return str(self.response.url)

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def html(self) -> str:
        return self.response.text

    def form_with(self, *names: str, action: str | None = None) -> Form:
        """Return the only form with fields or buttons of all these names."""
        found = [
            form
            for form in self.forms
            if form.names.issuperset(names) and action in {None, urlsplit(form.action).path}
        ]
        assert len(found) == 1, f"{len(found)} forms with {names} on {self}"
        return found[0]

    def form_sending(self, name: str, value: str) -> Form:
        """Return the only form that can send this name and value."""
        found = [form for form in self.forms if form.can_send(name, value)]
        assert len(found) == 1, f"{len(found)} forms send {name}={value} on {self}"
        return found[0]

    def text(self, id_: str) -> str:
        """Return the text of the element with this id."""
        assert id_ in self.texts, f"nothing has the id {id_!r} on {self}"
        return " ".join(self.texts[id_].split())

    def __repr__(self) -> str:
        return f"<{self.status} {self.url} {' '.join(self.html.split())[:600]!r}>"


@cache
def _tls_context() -> ssl.SSLContext:
    """Return one context for all clients: reading the trusted certificates takes long."""
    return httpx.create_ssl_context(trust_env=False)


class Person:
    """A person and a browser with cookies: `with Person(server.url, "ann", "..") as ann:`."""

    def __init__(self, origin: str, screen_name: str = "", password: str = "") -> None:
        self.origin = origin_of(origin)
        self.screen_name = screen_name
        self.password = password
        self.http = httpx.Client(
            timeout=PATIENCE_S,
            trust_env=False,
            verify=_tls_context(),
            headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.close()

    # Actions of the browser.

    def open(self, url: str) -> Page:
        """Open a URL or a path of the server. Follow redirects that stay on the server.

        The caller checks the status.
        """
        return self._follow(self.http.get(urljoin(f"{self.origin}/", url)))

    def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Fill in fields, press the named button, and return the next page."""
        return self._send(page, form, form.filled(**values))

    def _send(self, page: Page, form: Form, sent: Pairs) -> Page:
        target = urljoin(page.url, form.action or page.url)
        may_lead_to(page, target)
        if form.method == "GET":
            return self.open(f"{target.partition('?')[0]}?{urlencode(sent)}")
        assert form.method == "POST", form
        hides = page.response.headers.get("referrer-policy") == "no-referrer"
        answer = self.http.post(
            target,
            content=urlencode(sent),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": "null" if hides else origin_of(page.url),
                "Sec-Fetch-Site": "same-origin",
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
            },
        )
        wait_for_change_at(self.origin)
        return self._follow(answer, sent_from=page)

    def _follow(self, answer: httpx.Response, *, sent_from: Page | None = None) -> Page:
        for _ in range(HOPS_MAX):
            if answer.status_code not in REDIRECTS:
                return read_page(answer)
            # No URL library may change the text: a callback must arrive as it was registered.
            target = urljoin(str(answer.url), answer.headers["location"])
            if sent_from is not None:
                may_lead_to(sent_from, target)
            if origin_of(target) != self.origin:
                return read_page(answer, left_for=target)
            answer = self.http.get(target)
        raise AssertionError(f"too many redirects, the last one from {answer.url}")

    # Actions of the person.

    def sign_in(self, page: Page | None = None) -> Page:
        """Sign in on this page, or on /sign-in. Return the next page."""
        page = page or self.open("/sign-in")
        assert page.status == 200, page
        form = page.form_with("screen_name", "password")
        return self.submit(page, form, screen_name=self.screen_name, password=self.password)

    def sign_out(self) -> Page:
        """Press "Sign out"."""
        page = self.open("/settings/apps")
        return self.submit(page, page.form_with(action="/sign-out"))

    def consent_page(self, url: str) -> Page:
        """Follow an app's link to the consent page. Sign in if the server asks for it."""
        page = self.open(url)
        if page.left_for is None and any("password" in form.names for form in page.forms):
            page = self.sign_in(page)
        return page

    def decide(self, url: str, decision: str) -> Page:
        """Follow an app's link and decide: "authorize" or "cancel"."""
        page = self.consent_page(url)
        assert (page.status, page.left_for) == (200, None), page
        return self.answer(page, decision)

    def answer(self, page: Page, decision: str) -> Page:
        """Decide on the consent page."""
        form = page.form_sending("decision", decision)
        if ("decision", decision) in form.buttons:
            return self.submit(page, form, decision=decision)
        return self.submit(page, form)

    def authorize(self, url: str) -> str:
        """Authorize the app. Return the callback URL to which the browser is redirected."""
        page = self.decide(url, "authorize")
        assert page.status == 302, page
        assert page.left_for is not None, page
        return page.left_for

    def authorize_pin(self, url: str) -> str:
        """Authorize the app. Return the PIN that the page shows."""
        page = self.decide(url, "authorize")
        assert page.status == 200, page
        return page.text("pin")

    def cancel(self, url: str) -> str | None:
        """Deny the app. Return the link back to it, or None."""
        page = self.decide(url, "cancel")
        assert (page.status, page.left_for) == (200, None), page
        return page.links.get("denied-link")

    def revoke(self, app_id: str) -> Page:
        """Revoke an app's access on the account page."""
        page = self.open("/settings/apps")
        return self.submit(page, page.form_sending("app_id", app_id))


def read_page(answer: httpx.Response, *, left_for: str | None = None) -> Page:
    """Return the page that a browser shows for a response."""
    return Page(answer, left_for)


def origin_of(url: str) -> str:
    """Return scheme, host and port, or only a scheme that has no host."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"


def may_lead_to(page: Page, target: str) -> None:
    """Check that the page's `form-action` policy allows its form to lead to `target`.

    A browser asks this of the form's own address and of every redirect after it; a refusal shows
    as a button that does nothing.
    """
    sources = _form_sources(page.response.headers.get("content-security-policy", ""))
    if sources is None:
        return
    scheme = f"{urlsplit(target).scheme}:"
    own = origin_of(target) == origin_of(page.url) and "'self'" in sources
    allowed = own or origin_of(target) in sources or scheme in sources
    assert allowed, f"form-action {sources} on {page.url} blocks {target}"


def _form_sources(policy: str) -> set[str] | None:
    directives: Iterable[list[str]] = (each.split() for each in policy.split(";"))
    for words in directives:
        if words and words[0].lower() == "form-action":
            return set(words[1:])
    return None


def query_of(url: str) -> dict[str, str]:
    """Return the parameters of a URL. Every name must appear once."""
    parsed = parse_qs(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in parsed.values()), url
    return {name: values[0] for name, values in parsed.items()}
