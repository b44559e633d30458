"""The languages of the pages: their catalogues with the platform's nouns, and their formats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from gettext import c2py
from importlib import resources
from io import BytesIO
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from openengagement.language.formats import Formats
from openengagement.language.nouns import Nouns, fill, make_nouns

SOURCE: Final = "en"  # the language that the texts are written in
# Code -> the language's own name, and its tag for formats. `en-001` has days before months.
KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "en": ("English", "en-001"),
    "de": ("Deutsch", "de"),
}
_SCRIPTS: Final = ".js"


@dataclass(frozen=True)
class Language:
    """A language. `texts` maps a text to its translations, one for each plural form.

    `plural` returns the number of the form for a count. `script_texts` are the texts that static
    scripts use.
    """

    code: str
    name: str
    formats: Formats
    nouns: Nouns
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plural: Callable[[int], int] = lambda count: int(count != 1)
    script_texts: Sequence[str] = ()

    def gettext(self, text: str) -> str:
        """Translate a text. An unknown one stays, but with the platform's nouns."""
        found = self.texts.get(text)
        return found[0] if found else fill(text, self.nouns)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Translate a text that depends on a count."""
        forms = self.texts.get(one)
        if forms is None or len(forms) == 1:
            return self.gettext(one if count == 1 else many)
        return forms[self.plural(count)]

    def inside(self, label: str) -> str:
        """Write a label inside of a sentence. German nouns keep their capital."""
        return label.lower() if self.code == SOURCE else label


def load_language(code: str, given: Mapping[str, Sequence[str]] | None = None) -> Language:
    """Load one of the KNOWN languages. `given` replaces nouns (`nouns.make_nouns`)."""
    name, tag = KNOWN[code]
    nouns = make_nouns(code, given)
    if code == SOURCE:
        return Language(code, name, Formats(tag), nouns)
    catalog = read_catalog(code)
    messages = [message for message in catalog if message.id]
    return Language(
        code,
        name,
        Formats(tag),
        nouns,
        texts={_first(each.id): _fill_all(each.string or "", nouns) for each in messages},
        plural=c2py(catalog.plural_expr),
        script_texts=[
            _first(each.id)
            for each in messages
            if any(file.endswith(_SCRIPTS) for file, _ in each.locations)
        ],
    )


def read_catalog(code: str) -> Catalog:
    """Read the catalogue of a language, `messages/CODE.po`."""
    file = resources.files("openengagement.language").joinpath("messages", f"{code}.po")
    return read_po(BytesIO(file.read_bytes()), locale=code, abort_invalid=True)


def _first(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else text[0]


def _fill_all(texts: str | Sequence[str], nouns: Nouns) -> Sequence[str]:
    forms = (texts,) if isinstance(texts, str) else texts
    return [fill(form, nouns) for form in forms]
