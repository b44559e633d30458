"""Callback URLs: the rules for registering one, and the redirect back to it (api.md 4.4)."""

import re
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

from openengagement.engagement.callback_schemes import CallbackSchemes
from openengagement.language.current import gettext as _

CALLBACKS_MAX: Final = 10
CALLBACK_LENGTH_MAX: Final = 2048
_PORT: Final = re.compile(r"[0-9]{1,5}(?:/|$)", re.ASCII)
# The host goes into the consent page's Content-Security-Policy, where `;`, `,`, `'` and `*` are
# syntax.
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:\d*)?", re.ASCII)


class UnfitCallback(ValueError):
    """A URL cannot be a callback. The text completes "the callback cannot be used: ..."."""


def check_callback(url: str, schemes: CallbackSchemes) -> None:
    """Refuse a URL that no app may register as its callback (api.md 5).

    Raises:
        UnfitCallback
    """
    check_url(url)
    scheme = urlsplit(url).scheme
    if not schemes.allow(scheme):
        raise UnfitCallback(
            _(
                "the scheme %(scheme)s is not allowed; allowed are: %(allowed)s",
                scheme=scheme,
                allowed=schemes.describe(_("reverse domain names such as com.example.app")),
            )
        )


def check_url(url: str) -> None:
    """Refuse a URL to which a browser cannot be sent safely. Its scheme is not checked.

    Raises:
        UnfitCallback
    """
    if len(url) > CALLBACK_LENGTH_MAX:
        raise UnfitCallback(_("it is longer than %(most)s characters", most=CALLBACK_LENGTH_MAX))
    if not url.isascii() or any(letter <= " " or letter in '\x7f"<>\\^`{|}' for letter in url):
        raise UnfitCallback(_("it contains characters that a URL must percent-encode"))
    try:
        parts = urlsplit(url)
        parts.hostname, parts.port  # noqa: B018 - both raise
    except ValueError:
        raise UnfitCallback(_("it is not a URL")) from None
    if not parts.scheme:
        raise UnfitCallback(
            _("it has no scheme such as https; an app that uses PINs needs no callback URL")
        )
    if not parts.netloc and _PORT.match(parts.path):  # localhost:8000 reads as scheme and path
        raise UnfitCallback(_("it has no scheme; write http:// or https:// in front"))
    _check_host(parts)
    if parts.fragment or "#" in url:
        raise UnfitCallback(_("it has a fragment (#...), so no parameters can be appended"))


def _check_host(parts: SplitResult) -> None:
    if not parts.netloc and not parts.path:
        raise UnfitCallback(_("it has neither host nor path"))
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise UnfitCallback(_("it has no host"))
    if "@" in parts.netloc:
        raise UnfitCallback(_("it contains a user name or password"))
    if parts.netloc and not _AUTHORITY.fullmatch(parts.netloc):
        raise UnfitCallback(_("its host contains a character that is not allowed"))


def with_query(url: str, **parameters: str) -> str:
    """Append parameters to a URL. Its own query stays as it is."""
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{urlencode(parameters)}"
