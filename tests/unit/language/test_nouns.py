"""A platform's own nouns: how they are read, and that the pages use them."""

import pytest

from openengagement.language.languages import load_language
from openengagement.language.nouns import fill, make_nouns, read_nouns
from support.cases import cases

POSTS = """
[en]
tweet = ["post", "posts"]
retweet = ["boost", "boosts"]
like = ["star", "stars"]
[de]
tweet = ["Beitrag", "Beiträge", "Beiträgen"]
retweet = ["Boost", "Boosts", "Boosts"]
like = ["Stern", "Sterne", "Sternen"]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nouns.toml"
    path.write_text(POSTS, encoding="utf-8")
    return path


def test_texts_use_the_platforms_nouns(file):
    nouns = read_nouns(str(file), ["en", "de"])
    english, german = load_language("en", nouns["en"]), load_language("de", nouns["de"])
    assert english.gettext("No {tweets} yet") == "No posts yet"
    assert german.gettext("No {tweets} yet") == "Noch keine Beiträge"
    assert english.gettext("{Retweets}") == "Boosts"
    label = ("%(label)s of %(count)s {tweet}", "%(label)s of %(count)s {tweets}")
    assert german.ngettext(*label, 3) == "%(label)s von %(count)s Beiträgen"
    assert english.ngettext(*label, 1) == "%(label)s of %(count)s post"


def test_nouns_that_are_not_named_stay(file):
    nouns = make_nouns("en", read_nouns(str(file), ["en"])["en"])
    assert (nouns["replies"], nouns["Quotes"], nouns["Tweets"]) == (
        "replies",
        "Quote Tweets",
        "Posts",
    )


def test_other_text_in_braces_stays():
    assert fill("{tweets} {unknown} {", make_nouns("en")) == "Tweets {unknown} {"


def test_no_file_means_the_nouns_of_the_product():
    assert read_nouns("", ["en"]) == {}


@cases(
    ("content", "words"),
    [
        ("[en", "is not TOML"),
        ('[fr]\ntweet = ["a", "b"]', "write a table for each of en, de"),
        ("en = 5", r"write a table \[en\]"),
        ('[en]\npost = ["a", "b"]', "write one of tweet, like, retweet, quote, reply"),
        ('[en]\ntweet = ["post"]', r"\[en\] tweet: write 2 forms"),
        ('[en]\ntweet = "post"', "write 2 forms"),
        ('[en]\ntweet = ["<b>", "posts"]', "write 2 forms of up to 40 letters"),
        ('[en]\ntweet = ["%(x)s", "posts"]', "write 2 forms"),
        ('[en]\ntweet = ["post", ""]', "write 2 forms"),
        ('[en]\ntweet = ["post", " posts"]', "write 2 forms"),
        (f'[en]\ntweet = ["post", "{"a" * 41}"]', "write 2 forms"),
        ('[de]\ntweet = ["Beitrag", "Beiträge"]', "write 3 forms"),
        ('[en]\ntweet = ["post", "posts"]', r"lacks tweet in the table \[de\]"),
    ],
)
def test_files_that_are_refused(tmp_path, content, words):
    path = tmp_path / "nouns.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=words):
        read_nouns(str(path), ["en", "de"])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_nouns(str(tmp_path / "none.toml"), ["en"])
