"""The catalogues are complete: every text of the pages, with its values, markup and nouns."""

import re

import pytest

from openengagement.language.languages import KNOWN, SOURCE, load_language
from openengagement.language.nouns import DEFAULTS, FORMS, make_nouns
from support import messages

OTHERS = [code for code in KNOWN if code != SOURCE]
PLACE = re.compile(r"%\((\w+)\)s")
LONE_PERCENT = re.compile(r"(?<!%)%(?!\(\w+\)s|%)")
TAG = re.compile(r"</?\w+[^>]*>|&\w+;")
NOUN = re.compile(r"\{(\w+)\}")


def forms_of(text):
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.fixture(scope="module")
def texts():
    """The texts of the pages, by id."""
    return {message.id: message for message in messages.extract() if message.id}


@pytest.fixture(scope="module", params=OTHERS)
def catalogue(request):
    return messages.read(request.param)


def test_a_catalogue_has_every_text_and_no_other(catalogue, texts):
    """`make messages` brings it up to date."""
    known = {message.id for message in catalogue if message.id}
    assert sorted(map(str, texts.keys() - known)) == [], "not in the catalogue"
    assert sorted(map(str, known - texts.keys())) == [], "not in the pages any more"
    assert list(catalogue.obsolete) == []


def test_every_text_is_translated(catalogue):
    missing = [each.id for each in catalogue if each.id and not all(forms_of(each.string or ""))]
    assert missing == []
    assert [each.id for each in catalogue if each.fuzzy and each.id] == []
    for each in catalogue:
        if each.pluralizable:
            assert len(each.string) == catalogue.num_plurals


def test_a_translation_has_the_places_and_the_markup_of_its_text(catalogue):
    """The texts of a plural may leave out the count; nothing else may be missing or added."""
    for message in catalogue:
        if not message.id:
            continue
        originals = forms_of(message.id)
        for form in forms_of(message.string):
            assert set(PLACE.findall(form)) <= set(PLACE.findall(" ".join(originals))), form
            assert set(PLACE.findall(form)) >= set(PLACE.findall(originals[0])) - {"count"}, form
            assert LONE_PERCENT.search(form) is None, form
            assert sorted(TAG.findall(form)) == sorted(TAG.findall(originals[-1])), form


def test_every_noun_in_a_text_is_known(catalogue):
    nouns = {code: make_nouns(code) for code in KNOWN}
    for message in catalogue:
        if not message.id:
            continue
        for code, texts in ((SOURCE, message.id), (str(catalogue.locale), message.string)):
            names = {name for form in forms_of(texts) for name in NOUN.findall(form)}
            assert names <= nouns[code].keys(), texts


def test_texts_of_scripts_have_no_nouns(texts):
    """Scripts know no nouns: the server fills them in only in the texts of a catalogue."""
    for message in texts.values():
        if any(file.endswith(".js") for file, _ in message.locations):
            assert NOUN.search(" ".join(forms_of(message.id))) is None


def test_texts_fit_any_noun(texts):
    """`a` and `an` would depend on the noun."""
    for form in (form for text in texts for form in forms_of(text)):
        assert re.search(r"\ban? \{", form) is None, form
        assert LONE_PERCENT.search(form) is None, form


def test_german_addresses_people_formally():
    """Everywhere Sie, nowhere du."""
    informal = re.compile(r"\b(du|dich|dir|dein\w*|euch|euer\w*|eure\w*)\b", re.IGNORECASE)
    for message in messages.read("de"):
        for form in forms_of(message.string or ""):
            assert informal.search(form) is None, form


def test_plural_forms():
    german, english = load_language("de"), load_language("en")
    one, many = "%(n)s {tweet} posted.", "%(n)s {tweets} posted."
    assert [english.ngettext(one, many, n) for n in (0, 1, 2)] == [
        "%(n)s Tweets posted.",
        "%(n)s Tweet posted.",
        "%(n)s Tweets posted.",
    ]
    assert [german.ngettext(one, many, n) for n in (0, 1, 2)] == [
        "%(n)s Tweets veröffentlicht.",
        "%(n)s Tweet veröffentlicht.",
        "%(n)s Tweets veröffentlicht.",
    ]


def test_every_language_has_every_noun_in_all_forms():
    assert DEFAULTS.keys() == KNOWN.keys() == FORMS.keys()
    for code, nouns in DEFAULTS.items():
        assert nouns.keys() == DEFAULTS[SOURCE].keys()
        assert {len(forms) for forms in nouns.values()} == {FORMS[code]}
