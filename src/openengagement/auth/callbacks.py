"""Callback URLs: which an app may register, and how a person is sent back to one (api.md 4.4)."""

import re
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit

CALLBACKS_MAX: Final = 10
CALLBACK_LENGTH_MAX: Final = 2048
# api.md 5: custom schemes are allowed, for apps on phones, but none that a browser or a desktop
# would act on by itself.
_REFUSED_SCHEMES: Final = re.compile(
    r"about|acrobat|blob|callto|daap|data|file|filesystem|firefoxurl|ftp|gopher|hcp|itms|itpc|"
    r"javascript|keyword|ldap|livescript|mailto|mmst|mmsu|mocha|msbd|mso-offdap|news|nntp|outlook|"
    r"rlogin|rtsp|shell|sip|snews|stssync|telnet|tn3270|vbs|vbscript|view-source"
)
_PORT: Final = re.compile(r"[0-9]{1,5}(?:/|$)", re.ASCII)
# A host is named in the consent page's policy, where `;`, `,`, `'` and `*` have a meaning.
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:\d*)?", re.ASCII)


class UnfitCallback(ValueError):
    """A URL that cannot be a callback; the text says why."""


def check_callback(url: str) -> None:
    """Refuse what no app may register as its callback.

    Raises:
        UnfitCallback
    """
    if len(url) > CALLBACK_LENGTH_MAX:
        raise UnfitCallback(f"it is longer than {CALLBACK_LENGTH_MAX} characters")
    if not url.isascii() or any(each <= " " or each in '\x7f"<>\\^`{|}' for each in url):
        raise UnfitCallback("it holds characters that a URL must encode")
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        raise UnfitCallback("it is not a URL") from None
    if not parts.scheme:
        raise UnfitCallback(
            "it has no scheme such as https; an app whose users carry a PIN registers none"
        )
    if not parts.netloc and _PORT.match(parts.path):  # localhost:8000 reads as scheme and path
        raise UnfitCallback("it has no scheme; write http:// or https:// in front")
    if _REFUSED_SCHEMES.fullmatch(parts.scheme):
        raise UnfitCallback(f"the scheme {parts.scheme} is not allowed")
    _check_host(parts)
    if parts.fragment or "#" in url:
        raise UnfitCallback("it has a fragment, which would swallow what is appended")


def _check_host(parts: SplitResult) -> None:
    if not parts.netloc and not parts.path:
        raise UnfitCallback("it leads nowhere")
    if parts.scheme in {"http", "https"} and not parts.hostname:
        raise UnfitCallback("it names no host")
    if "@" in parts.netloc:
        raise UnfitCallback("it holds a user name or password")
    if parts.netloc and not _AUTHORITY.fullmatch(parts.netloc):
        raise UnfitCallback("its host holds characters that no host has")


def with_query(url: str, **parameters: str) -> str:
    """A callback with parameters appended; the query it has stays as it is."""
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{urlencode(parameters)}"
