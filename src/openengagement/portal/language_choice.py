"""A person chooses the language of the pages. A cookie of the browser keeps the choice."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from openengagement.engagement.types import DAY_S
from openengagement.language.current import speak
from openengagement.language.negotiation import Languages
from openengagement.portal.page_request import PageRequest, cookie_names, read_cookies
from openengagement.portal.rendering import redirect
from openengagement.portal.sign_in import local_path

LANGUAGE_PATH: Final = "/language"
_COOKIE: Final = "language"
_KEPT_S: Final = 365 * DAY_S


def choose_language(request: PageRequest, languages: Languages) -> None:
    """Set the language of a request: the person's choice, the browser's, or the platform's."""
    speak(languages.choose(request.cookie(_COOKIE), request.headers.get("accept-language", "")))


def choose_language_by_headers(
    headers: Sequence[tuple[bytes, bytes]], languages: Languages
) -> None:
    """Set the language of a request that was not read as far as a page request."""
    cookies = read_cookies(headers)
    chosen = next((cookies[name] for name in cookie_names(_COOKIE) if name in cookies), "")
    accepted = dict(headers).get(b"accept-language", b"").decode("latin-1")
    speak(languages.choose(chosen, accepted))


class LanguageChoice:
    """The handler of `/language`."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages

    def choose(self, request: PageRequest) -> Response:
        """`POST /language`: keep the chosen language, and return to the page.

        It changes nothing but a cookie, so the form is accepted after its session has ended, too.
        """
        code = request.fields.get("language", "")
        if code in self._languages.offered:
            request.set_cookies[_COOKIE] = (code, _KEPT_S)
        return redirect(local_path(request.fields.get("return_to", "")))
