"""Parse queries and HTML forms into pairs of decoded text. One rule for repeated parameters."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

_LENGTH_MAX: Final = 65_536
_PARAMETERS_MAX: Final = 1_000
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})").search

Parameters = list[tuple[str, str]]


class MalformedParameters(ValueError):
    """A query, form or header that cannot be read; the text says why and quotes no value."""


def decode(text: str) -> str:
    """Undo percent-encoding (RFC 3986, 2.1). A `+` stays a plus.

    Raises:
        MalformedParameters: a broken escape, or bytes that are not UTF-8.
    """
    if "%" not in text:
        return text
    if _BROKEN_ESCAPE(text):
        raise MalformedParameters("a % is not followed by two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise MalformedParameters("an escape is not UTF-8") from None


def parse_form(text: str) -> Parameters:
    """Parse a query string or a form body (RFC 5849, 3.4.1.3.1). Here a `+` is a space.

    Raises:
        MalformedParameters: a broken escape, too many parameters, or too many characters.
    """
    if not text:
        return []
    # Bounds the work for an unauthenticated sender: every parameter is decoded, encoded and sorted.
    if len(text) > _LENGTH_MAX or text.count("&") >= _PARAMETERS_MAX:
        raise MalformedParameters(
            f"there are more than {_PARAMETERS_MAX} parameters or {_LENGTH_MAX} characters"
        )
    pairs = (part.partition("=") for part in text.split("&") if part)
    return [
        (decode(name.replace("+", " ")), decode(value.replace("+", " ")))
        for name, _, value in pairs
    ]


def is_form(content_type: str) -> bool:
    """Tell whether a `Content-Type` is that of an HTML form, whatever its parameters."""
    return content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def parse_form_body(content_type: str, body: bytes) -> Parameters:
    """Parse a body as a form. A body of any other content type has no parameters.

    Raises:
        MalformedParameters: the form is not UTF-8, or as `parse_form`.
    """
    if not is_form(content_type):
        return []
    try:
        return parse_form(body.decode())
    except UnicodeDecodeError:
        raise MalformedParameters("the form is not UTF-8") from None


def given_once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map names to values. A name that is given twice counts as not given.

    This is the one rule for repeated parameters, fields and cookies. If a proxy read the first of
    two values and this server the last, an attacker could show each of them a different value.
    """
    every = list(pairs)
    values = dict(every)
    if len(values) == len(every):
        return values
    times = Counter(name for name, _ in every)
    return {name: value for name, value in every if times[name] == 1}


def read_url_query(url: str) -> dict[str, str]:
    """Read the query of a URL as browsers do: broken escapes stay as they are."""
    return given_once(parse_qsl(urlsplit(url).query, keep_blank_values=True))
