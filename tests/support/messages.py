"""Collect the texts of the pages, and bring the catalogues of the languages up to date.

`make messages` runs this. New texts are then in the catalogues without a translation, and texts
that no page uses any more are gone.
"""

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from openengagement.language.languages import KNOWN, SOURCE

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "openengagement"
CATALOGUES = SOURCES / "language" / "messages"
_METHODS = [
    ("portal/templates/**.html", "jinja2"),
    ("portal/static/*.js", "javascript"),
    ("**.py", "python"),
]
_OPTIONS = {
    "portal/templates/**.html": {
        "extensions": "jinja2.ext.i18n",
        "newstyle_gettext": "true",
        "silent": "false",
        "trimmed": "true",
    }
}
_DATES_AND_NAMES = (
    '"Generated',
    '"Language-Team',
    '"Last-',
    '"POT-',
    '"PO-',
    '"Project',
    '"Report',
)
_KEYWORDS = {"_": None, "gettext": None, "gettext_noop": None, "ngettext": (1, 2)}


def extract():
    """Return the catalogue of all texts, without translations."""
    catalog = Catalog(charset="utf-8")
    found = extract_from_dir(SOURCES, _METHODS, _OPTIONS, keywords=_KEYWORDS)
    for file, line, message, comments, context in sorted(found, key=lambda each: each[:2]):
        catalog.add(message, None, [(file, line)], auto_comments=comments, context=context)
    return catalog


def path_of(code):
    return CATALOGUES / f"{code}.po"


def read(code):
    """Read the catalogue of a language; an empty one if there is none yet."""
    path = path_of(code)
    content = path.read_bytes() if path.exists() else b""
    return read_po(BytesIO(content), locale=code)


def update(code):
    """Update the catalogue of a language."""
    catalog = read(code)
    catalog.update(extract(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.fuzzy = False
    catalog.header_comment = (
        f"# The texts of the pages, language {code}. `make messages` updates it."
    )
    write(code, catalog)


def write(code, catalog):
    out = BytesIO()
    write_po(out, catalog, width=100, include_lineno=False, sort_by_file=True)
    lines = out.getvalue().decode().splitlines()
    kept = [line for line in lines if not line.startswith(_DATES_AND_NAMES)]
    path_of(code).write_text("\n".join(kept).rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    for code in KNOWN:
        if code != SOURCE:
            update(code)
