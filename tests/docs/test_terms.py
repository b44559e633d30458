"""The glossary defines the terms in use, and the private words that they replaced are gone.

Names are checked, not prose: `gather` as a method is a private word, "gather" in a sentence is
English. Only names that this repository defines count, so `asyncio.gather` may be called.
In the names of tests, which are sentences, ordinary words stay allowed.
"""

import ast
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

import pytest

from support.cases import cases

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "packages", "tests", "benchmarks", "examples")
# Old word -> the term that replaced it. No name and no file name contains one of these words.
OLD_WORDS = {
    "arrive": "finish",
    "asker": "figures through the API's own code path",
    "beside": "counting supervisor",
    "carry": "compact",
    "carrying": "compaction",
    "depart": "start",
    "departure": "authorization request",
    "desk": "page renderer",
    "errand": "authorization request",
    "gather": "flush",
    "gathered": "flush",
    "gathering": "flush",
    "handover": "send to the counting process",
    "judge": "validate",
    "keeper": "supervisor",
    "knock": "limit guesses",
    "leg": "three-legged flow",
    "legs": "three-legged flow",
    "registering": "one clear pair of names",
    "settle": "compact",
    "settled": "compact",
    "sweep": "remove orphaned files",
}
# Ordinary words of tests and benchmarks, which do not describe the product there.
ORDINARY_OUTSIDE_SRC = {
    "arrive",
    "asker",
    "beside",
    "carry",
    "carrying",
    "desk",
    "judge",
    "keeper",  # ZooKeeper
    "knock",
    "registering",
}
# Files in which an old word means something else.
EXCEPTIONS = {
    "src/openengagement/ingest/formats/plain_events.py": {"carry"},  # of an addition
    "src/openengagement/registry/migrations/versions/0002_three_legs.py": {"legs"},  # a revision
}
# Whole names that are gone; their words are ordinary elsewhere.
OLD_NAMES = {
    "CallVerifier": "OAuthVerifier",
    "Claim": "OAuthParameters",
    "Counting": "handler of event batches",
    "Identities": "VerifyCredentials",
    "Listed": "SegmentRecord",
    "NOBODYS_SECRET": "STAND_IN_SECRET",
    "OpenId": "RelyingParty",
    "Parts": "DataFolder",
    "ShownOnce": "one-time secret",
    "Signed": "VerifiedRequest",
    "Take": "handler of batches",
    "Turn": "file lock",
    "Visit": "PageRequest",
    "Visits": "sessions of browsers",
    "Ways": "SignInMethods",
    "give_way": "lower_priority",
    "hand_over": "send to the counting process",
    "keep_settled": "start_compaction",
    "let_go_soon": "close_later",
    "share_heap": "configure_allocator",
    "shown_once": "one-time secret",
    "take_over": "serve in the counting process",
}
# Old phrases for which the field has a term.
OLD_PHRASES = (
    "leave to go on",
    "first leg",
    "second leg",
    "third leg",
    "three legs",
    "whose turn it is",
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@cache
def python_files() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in found if "node_modules" not in path.parts)


def defined_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module defines or binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def old_terms(name: str, *, ordinary: Collection[str] = ()) -> list[str]:
    words = {word.lower() for word in _WORD.findall(name)} - set(ordinary)
    found = [f"{name}: {OLD_WORDS[word]}" for word in words & OLD_WORDS.keys()]
    if name.strip("_") in OLD_NAMES:
        found.append(f"{name}: {OLD_NAMES[name.strip('_')]}")
    return found


@pytest.mark.heavy
@cases("folder", FOLDERS)
def test_old_terms_are_gone(folder):
    all_found = {}
    for path in python_files():
        if path.relative_to(ROOT).parts[0] != folder or path == Path(__file__):
            continue
        name = str(path.relative_to(ROOT))
        ordinary = EXCEPTIONS.get(name, set()) if folder == "src" else ORDINARY_OUTSIDE_SRC
        names = {path.stem, *defined_names(ast.parse(path.read_text()))}
        found = [term for each in names for term in old_terms(each, ordinary=ordinary)]
        if found:
            all_found[name] = sorted(found)
    assert all_found == {}


def test_old_phrases_are_gone():
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *python_files()]
    pages += (ROOT / "src").rglob("*.html")
    found = {
        (str(path.relative_to(ROOT)), phrase)
        for path in pages
        if path != Path(__file__)
        for phrase in OLD_PHRASES
        if phrase in " ".join(path.read_text().lower().split())
    }
    assert found == set()


def test_terms_are_defined_once():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", glossary, re.MULTILINE)
    terms = [term for cell in cells if cell != "term" for term in cell.split(", ")]
    assert len(terms) > 100
    assert sorted(term for term in set(terms) if terms.count(term) > 1) == []
