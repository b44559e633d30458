"""A browser's request as the pages see it, with its cookies."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from openengagement.http.forms import given_once
from openengagement.language.current import gettext as _
from openengagement.registry.sessions import Session
from openengagement.registry.shares import Share

_KEPT_LENGTH_MAX: Final = 200  # of a parameter that a page's forms keep


@dataclass(slots=True)
class PageRequest:
    """A browser's request, and the cookies that its answer sets.

    `query` and `fields` map names to values; a name that is given twice is missing.
    """

    path: str
    params: Mapping[str, str]  # the parameters of the path
    query: Mapping[str, str]
    fields: Mapping[str, str]  # of the form
    cookies: Mapping[str, str]
    headers: Mapping[str, str]
    host: str
    secure: bool  # over TLS, as the browser sees it
    address: str
    query_pairs: Sequence[tuple[str, str]] = ()  # the query as it was sent, repeats included
    session: Session | None = None
    # On pages of figures: who shares figures with this person, and whose figures the page shows.
    owners: Sequence[Share] = ()
    author: Share | None = None  # None: the person's own
    form_secret: str = ""  # the cookie that this browser's forms are bound to
    set_cookies: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> value, seconds

    @property
    def scheme(self) -> str:
        """`https` or `http`, as the browser sees it."""
        return "https" if self.secure else "http"

    @property
    def origin(self) -> str:
        """This server's origin, as the browser sees it."""
        return f"{self.scheme}://{self.host}"

    @property
    def account_id(self) -> int:
        """The account that is signed in. Only pages behind a sign-in may use this."""
        assert self.session is not None, "the page's route demands no sign-in"
        return self.session.account_id

    @property
    def author_id(self) -> int:
        """The account whose figures the page shows: that of an author who shares, or one's own."""
        return self.author.account_id if self.author else self.account_id

    @property
    def base(self) -> str:
        """The first part of the paths of all pages with these figures, empty for one's own."""
        return f"/shared/{self.author.account_id}" if self.author else ""

    def titled(self, own: str, others: str) -> str:
        """Return the title `own` for one's own figures, else `others` with the author's name."""
        if self.author is None:
            return own
        return _("%(page)s of @%(name)s", page=others, name=self.author.screen_name)

    def file_name(self, name: str) -> str:
        """Name a file of figures. The figures of another account have its screen name in it."""
        return f"{self.author.screen_name}-{name}" if self.author else name

    def kept(self, *names: str) -> dict[str, str]:
        """Return these parameters of the query, without empty ones: the view of a page.

        The actions of a page's forms carry its view, so that it stays after a form.
        """
        given = ((name, self.query.get(name, "")[:_KEPT_LENGTH_MAX]) for name in names)
        return {name: text for name, text in given if text}

    def cookie(self, name: str) -> str:
        """Return a cookie that the browser sent, empty if it sent none."""
        return self.cookies.get(self._cookie_name(name), "")

    def send_cookies(self, response: Response) -> None:
        """Set the cookies of `set_cookies` on the answer. Zero seconds delete a cookie."""
        for name, (value, seconds) in self.set_cookies.items():
            response.set_cookie(
                self._cookie_name(name),
                value,
                max_age=seconds,
                path="/",
                secure=self.secure,
                httponly=True,
                samesite="lax",
            )

    def _cookie_name(self, name: str) -> str:
        secure, plain = cookie_names(name)
        return secure if self.secure else plain


def with_query(path: str, parameters: Mapping[str, object]) -> str:
    """Return a path with these parameters."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def cookie_names(name: str) -> tuple[str, str]:
    """Return the names of one of our cookies under TLS and without it.

    The prefix stops other hosts of the domain from setting a cookie of this name.
    """
    return f"__Host-oe_{name}", f"oe_{name}"


def read_page_request(request: Request, fields: Mapping[str, str]) -> PageRequest:
    """Read a browser's request, still without its session. `fields` are those of its form."""
    pairs = request.query_params.multi_items()
    return PageRequest(
        path=request.url.path,
        params=request.path_params,
        query=given_once(pairs),
        fields=fields,
        cookies=read_cookies(request.headers.raw),
        headers=request.headers,
        host=request.headers.get("host", ""),
        secure=request.url.scheme == "https",
        address=request.client.host if request.client else "",
        query_pairs=pairs,
    )


def read_cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Map the names of a request's cookies to their values, exactly as browsers tell names apart.

    A cookie that is sent twice counts as missing. A more lenient reader would accept a cookie that
    another host of the domain has set: its name differs by a byte that only this reader ignores.
    """
    sent = [value for name, value in headers if name == b"cookie"]
    parts = [part.strip(b" \t") for part in b";".join(sent).split(b";")]
    pairs = (part.partition(b"=") for part in parts)
    return given_once((name.decode("latin-1"), value.decode("latin-1")) for name, _, value in pairs)
