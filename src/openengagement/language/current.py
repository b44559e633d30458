"""The language of the present request, and translations into it.

A context variable holds it, because most texts are made far from the request. Outside of a request
the language is the one that the texts are written in, so that the API, the log and the command
line stay English.

Texts are marked by these functions, so that `make messages` finds them. In a text, `%(name)s` is
the place of a value, `%%` is a percent sign, and a name in braces is a noun (see `nouns`).
"""

from contextvars import ContextVar
from functools import cache
from typing import Final

from openengagement.language.languages import SOURCE, Language, load_language

_current: Final[ContextVar[Language | None]] = ContextVar("language", default=None)


def speak(language: Language) -> None:
    """Set the language of the present request."""
    _current.set(language)


def current() -> Language:
    """Return the language of the present request."""
    return _current.get() or _source()


def gettext(text: str, **values: object) -> str:
    """Translate a text, and put the values into it."""
    return current().gettext(text) % values


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """Translate a text that depends on a count. `%(count)s` is the count, as it is written."""
    language = current()
    written = {"count": language.formats.number(count), **values}
    return language.ngettext(one, many, count) % written


def gettext_noop(text: str) -> str:
    """Mark a text that is translated when it is shown."""
    return text


@cache
def _source() -> Language:
    return load_language(SOURCE)
