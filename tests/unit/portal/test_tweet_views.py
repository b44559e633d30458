"""How pages show Tweets: names that tell them apart, links and pictures that are safe."""

import pytest

from openengagement.engagement.tweets import TweetContent
from openengagement.engagement.types import Tweet
from openengagement.portal.tweet_views import NAME_LENGTH_MAX, TweetViews
from support.cases import cases

TEMPLATE = "https://example.com/posts/{id}"
AT_S = 1_795_342_000  # 22 Nov 2026, 10:06:40 UTC


class Contents:
    """A store of contents."""

    def __init__(self, contents):
        self.contents = contents

    def read_contents(self, tweet_ids):
        return {each: self.contents[each] for each in tweet_ids if each in self.contents}

    def read_texts(self, tweet_ids):
        return {each: content.text for each, content in self.read_contents(tweet_ids).items()}


def describe(*contents, template="", hosts=()):
    """Describe Tweets 1, 2, ... with these contents."""
    known = {at: TweetContent(*each) for at, each in enumerate(contents, 1) if each is not None}
    views = TweetViews(Contents(known), url_template=template, image_hosts=frozenset(hosts))
    tweets = [Tweet(at, 7, AT_S + 60 * at, deleted=False) for at in range(1, len(contents) + 1)]
    return [*views.describe(tweets).values()]


def test_a_name_is_the_start_of_the_text_on_one_line():
    (short,) = describe(("  Low water\n\tat six. ",))
    assert (short.name, short.text) == ("Low water at six.", "Low water\n\tat six.")
    (long,) = describe(("word " * 100,))
    assert long.name == f"{('word ' * 14)[:-1]}…"
    (unbroken,) = describe(("x" * 1000,))
    assert unbroken.name == f"{'x' * NAME_LENGTH_MAX}…"


def test_a_text_does_not_turn_around_what_follows_its_name():
    """An override or isolate of a direction may lack its end, or lose it where the text is cut."""
    first, second = describe(("Fog\u202e\u2066.",), ("\u202aFog.\u202c",))
    assert first.name == "Fog. (22 Nov 2026, 10:07 UTC)"
    assert second.line == "Fog."


@pytest.mark.parametrize("content", [None, ("",), (" \n",), ("", "https://example.com/1")])
def test_a_tweet_without_text_is_named_by_its_id(content):
    (view,) = describe(content)
    assert (view.name, view.text) == ("1", "")


def test_a_text_of_directions_alone_is_named_by_its_id():
    (view,) = describe(("\u202e",))
    assert (view.name, view.line) == ("1", "")


def test_tweets_with_the_same_text_are_told_apart_by_their_times():
    first, other, second, *without = describe(("Fog.",), ("Rain.",), (" Fog.",), None, None)
    assert first.name == "Fog. (22 Nov 2026, 10:07 UTC)"
    assert second.name == "Fog. (22 Nov 2026, 10:09 UTC)"
    assert first.line == second.line == "Fog."
    assert other.name == "Rain."
    assert [each.name for each in without] == ["4", "5"]


@cases(
    ("url", "template", "link", "host"),
    [
        ("https://www.example.com/a", "", "https://www.example.com/a", "example.com"),
        ("http://Example.com:81/a", TEMPLATE, "http://Example.com:81/a", "example.com:81"),
        ("", TEMPLATE, "https://example.com/posts/1", "example.com"),
        ("", "", "", ""),
        ("javascript:alert(1)", TEMPLATE, "", ""),
        ("//example.com", "", "", ""),
        ("https://[1.2.3]/", "", "", ""),
        ("https://ex\u2100mple.com/", "", "", ""),
        ("https://", "", "", ""),
    ],
)
def test_links(url, template, link, host):
    (view,) = describe(("Fog.", url), template=template)
    assert (view.url, view.host) == (link, host)


@cases(
    ("picture", "shown"),
    [
        ("https://media.example.com/a.jpg", True),
        ("HTTPS://MEDIA.example.com/a.jpg", True),
        ("https://media.example.com:443/a.jpg", False),
        ("http://media.example.com/a.jpg", False),
        ("https://evil.example/media.example.com", False),
        ("https://x.media.example.com/a.jpg", False),
        ("https://media.example.com.evil.example/", False),
        ("https://[1.2.3]/", False),
        ("", False),
    ],
)
def test_pictures_are_shown_from_allowed_hosts_only(picture, shown):
    (view,) = describe(("Fog.", "", picture), hosts=["media.example.com"])
    assert view.image == (picture if shown else "")
    (view,) = describe(("Fog.", "", picture))
    assert view.image == ""


@cases(
    ("text", "found"),
    [
        ("", [1, 2, 3, 4]),
        ("  ", [1, 2, 3, 4]),
        ("fog", [1, 3]),
        ("FOG noon", [3]),
        ("noon fog", [3]),
        ("stra\u00dfe", [2]),
        ("STRASSE", [2]),
        ("4", [4]),
        ("2026-11-22", [1, 2, 3, 4]),
        ("2026-11 rain", [2]),
        ("2026", []),
        ("2026-12", []),
        ("fog 2", []),
        ("%", []),
        ("\\", []),
    ],
)
def test_search(text, found):
    contents = {
        1: TweetContent("Fog."),
        2: TweetContent("Rain, Stra\u00dfe"),
        3: TweetContent("Noon fog"),
    }
    views = TweetViews(Contents(contents), url_template="", image_hosts=())
    tweets = [Tweet(at, 7, AT_S + 60 * at, deleted=False) for at in range(1, 5)]
    assert [tweet.tweet_id for tweet in views.search(tweets, text)] == found
