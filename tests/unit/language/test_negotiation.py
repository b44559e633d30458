"""Which language a request gets."""

from openengagement.language.current import current, gettext, ngettext, speak
from openengagement.language.negotiation import load_languages, parse_accepted
from support.cases import cases

BOTH = load_languages(["en", "de"])
GERMAN_FIRST = load_languages(["de", "en"])
GERMAN_ONLY = load_languages(["de"])


@cases(
    ("header", "found"),
    [
        ("", [""]),
        ("de-AT,de;q=0.8,en;q=0.5", ["de", "de", "en"]),
        ("en;q=0.4, DE;q=0.9", ["de", "en"]),
        ("de;q=0, en", ["en"]),
        ("de;q=zero, en;q=0.1", ["en"]),
        ("de;q=0.9;x=1, en;q=0.8", ["en"]),
        ("*", ["*"]),
        (";;;,=,q", ["", "=", "q"]),
        ("x" * 10_000, ["x" * 500]),
    ],
)
def test_accepted_languages(header, found):
    assert parse_accepted(header) == found


@cases(
    ("languages", "chosen", "accepted", "code"),
    [
        (BOTH, "", "", "en"),
        (BOTH, "", "de-CH", "de"),
        (BOTH, "", "fr, de;q=0.5", "de"),
        (BOTH, "", "fr", "en"),
        (BOTH, "en", "de", "en"),
        (BOTH, "de", "en", "de"),
        (BOTH, "<script>", "de", "de"),
        (GERMAN_FIRST, "", "", "de"),
        (GERMAN_FIRST, "", "fr, *", "de"),
        (GERMAN_FIRST, "", "en", "en"),
        (GERMAN_ONLY, "en", "en", "de"),
    ],
)
def test_the_choice_then_the_browser_then_the_default(languages, chosen, accepted, code):
    assert languages.choose(chosen, accepted).code == code


def test_texts_are_in_the_language_of_the_request():
    assert current().code == "en", "outside of a request"
    try:
        speak(BOTH.offered["de"])
        assert gettext("Choose at most %(count)s days.", count=3) == "Wählen Sie höchstens 3 Tage."
        count = ngettext("%(count)s {tweet}", "All %(count)s {tweets} together", 1200)
        assert count == "Alle 1.200 Tweets zusammen"
    finally:
        speak(BOTH.offered["en"])


def test_a_label_inside_of_a_sentence():
    assert BOTH.offered["en"].inside("Link clicks") == "link clicks"
    assert BOTH.offered["de"].inside("Linkklicks") == "Linkklicks", "German nouns have a capital"
