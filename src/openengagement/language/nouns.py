"""What a platform calls its posts, and what people do with them: nouns for the pages' texts.

A text names a noun in braces, such as `{tweets}` or, at the start of a sentence, `{Tweets}`. The
nouns take the place of these names once, when the catalogue of a language is read.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

# The names of the nouns -> their forms in each language: singular, plural and, in German, the
# dative plural. German has no other form that a text needs: see docs/operating/look-and-language.md
FORMS: Final[Mapping[str, int]] = {"en": 2, "de": 3}
_SUFFIXES: Final = ("one", "many", "dative")
DEFAULTS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "en": {
        "tweet": ("Tweet", "Tweets"),
        "like": ("like", "likes"),
        "retweet": ("Retweet", "Retweets"),
        "quote": ("Quote Tweet", "Quote Tweets"),
        "reply": ("reply", "replies"),
    },
    "de": {
        "tweet": ("Tweet", "Tweets", "Tweets"),
        "like": ("Like", "Likes", "Likes"),
        "retweet": ("Retweet", "Retweets", "Retweets"),
        "quote": ("Zitat-Tweet", "Zitat-Tweets", "Zitat-Tweets"),
        "reply": ("Antwort", "Antworten", "Antworten"),
    },
}
_PLURALS: Final = {"reply": "replies"}
_LENGTH_MAX: Final = 40
_NAME: Final = re.compile(r"\{(\w+)\}")

Nouns = Mapping[str, str]  # name in a text -> its form


def make_nouns(language: str, given: Mapping[str, Sequence[str]] | None = None) -> Nouns:
    """Return the form of each name in a text. `given` replaces the forms of some nouns."""
    nouns: dict[str, str] = {}
    for noun, forms in {**DEFAULTS[language], **(given or {})}.items():
        plural = _PLURALS.get(noun, f"{noun}s")
        for suffix, form in zip(_SUFFIXES, forms, strict=False):
            name = {"one": noun, "many": plural, "dative": f"{plural}_dative"}[suffix]
            nouns[name] = form
            nouns[name.capitalize()] = form[:1].upper() + form[1:]
    return nouns


def fill(text: str, nouns: Nouns) -> str:
    """Put the nouns in the place of their names. Any other text in braces stays."""
    return _NAME.sub(lambda found: nouns.get(found[1], found[0]), text) if "{" in text else text


def read_nouns(path: str, languages: Collection[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Read a file of nouns (TOML): language -> noun -> forms. No path means no nouns.

    Raises:
        ValueError: the text says what to write.
    """
    if not path:
        return {}
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{path} cannot be read") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    read = {language: _read_table(language, tables[language]) for language in tables}
    named = {noun for nouns in read.values() for noun in nouns}
    for language in languages:
        if missing := sorted(named - read.get(language, {}).keys()):
            raise ValueError(f"{path} lacks {', '.join(missing)} in the table [{language}]")
    return read


def _read_table(language: str, table: Any) -> dict[str, tuple[str, ...]]:  # noqa: ANN401
    if language not in FORMS:
        raise ValueError(f"write a table for each of {', '.join(FORMS)}, not [{language}]")
    if not isinstance(table, dict):
        raise ValueError(f"write a table [{language}]")  # noqa: TRY004
    return {noun: _read_forms(language, noun, forms=forms) for noun, forms in table.items()}


def _read_forms(language: str, noun: str, *, forms: object) -> tuple[str, ...]:
    wanted = FORMS[language]
    if noun not in DEFAULTS[language]:
        raise ValueError(f"write one of {', '.join(DEFAULTS[language])}, not {noun!r}")
    if not isinstance(forms, list) or len(forms) != wanted or not all(map(_is_plain, forms)):
        example = list(DEFAULTS[language][noun])
        raise ValueError(
            f"[{language}] {noun}: write {wanted} forms of up to {_LENGTH_MAX} letters, such as "
            f"{example}"
        )
    return tuple(forms)


def _is_plain(form: object) -> bool:
    """Return whether a form is a word or a few. It goes into HTML and into format strings."""
    plain = isinstance(form, str) and 0 < len(form) <= _LENGTH_MAX and form == form.strip()
    return plain and all(char.isalpha() or char in " -" for char in str(form))
