"""docs/licences.md lists what an installation brings, and every licence is one that we accept."""

from pathlib import Path

from support.licences import licence_of, needed, render_licences

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"
# Licences that let everybody use, change and sell the whole, as long as libraries stay libraries.
ACCEPTED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "OLDAP-2.8",
    "PSF-2.0",
    "Zlib",
}


def test_the_table_is_generated():
    assert PAGE.read_text().endswith(f"\n\n{render_licences()}"), "run: make tables"


def test_every_licence_is_accepted():
    found = {package.metadata["Name"]: licence_of(package) for package in needed()}
    words = {
        name: set(licence.replace("(", " ").replace(")", " ").split()) - {"AND", "OR"}
        for name, licence in found.items()
    }
    assert len(found) > 40
    assert {
        name: more for name, each in words.items() if (more := each - ACCEPTED) or not each
    } == {}
