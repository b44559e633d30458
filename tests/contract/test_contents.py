"""Contents of Tweets: stored, changed field by field, and erased with the Tweet."""

import threading

import pytest

from contract.deltas import make_contents, make_tweets
from openengagement.engagement.tweets import TweetContent

URL, PICTURE = "https://example.com/posts/5", "https://media.example.com/5.jpg"
WHOLE = TweetContent("Low water at six.", URL, PICTURE)
TEXTS = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "line\nbreak\tand\r\nmore",
    "\u202eright to left \u0645\u0631\u062d\u0628\u0627",
    "\U0001f468\u200d\U0001f680" * 333,
    "'; DROP TABLE tweets; --",
    "%s %(id)s {id} ?1 \\",
    "x" * 1000,
]


def fill(store, *rows):
    store.apply_tweets(make_contents(*rows))


def content_of(store, tweet_id=5):
    return store.read_contents([tweet_id]).get(tweet_id)


def test_contents_are_read_by_id(store):
    fill(store, (5, None, "Low water at six.", URL, PICTURE), (6, None, "Fog.", None, None))
    store.apply_tweets(make_tweets((8, 7, 1000, None, False)))

    assert store.read_contents([6, 8, 9, 5]) == {5: WHOLE, 6: TweetContent("Fog.", "", "")}
    assert store.read_contents([]) == {}
    assert store.read_texts([6, 8, 9, 5]) == {5: "Low water at six.", 6: "Fog."}
    assert store.read_texts([]) == {}


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_comes_back_unchanged(store, text):
    fill(store, (5, None, text, None, None))
    assert content_of(store).text == text


CHANGES = {
    "nothing": ((None, None, None), WHOLE),
    "the text": (("Fog.", None, None), TweetContent("Fog.", URL, PICTURE)),
    "no text": (("", None, None), TweetContent("", URL, PICTURE)),
    "the link": ((None, f"{URL}0", None), TweetContent(WHOLE.text, f"{URL}0", PICTURE)),
    "no link": ((None, "", None), TweetContent(WHOLE.text, "", PICTURE)),
    "no picture": ((None, None, ""), TweetContent(WHOLE.text, URL, "")),
    "all": (("", "", PICTURE), TweetContent("", "", PICTURE)),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("given", "content"), CHANGES.values(), ids=CHANGES)
def test_the_last_value_of_each_field_holds(store, given, content, at_once):
    rows = [(5, None, WHOLE.text, URL, PICTURE), (6, None, "other", None, None), (5, None, *given)]
    for batch in [rows] if at_once else [[row] for row in rows]:
        fill(store, *batch)
    assert content_of(store) == content
    assert content_of(store, 6) == TweetContent("other", "", "")


@pytest.mark.parametrize("how", ["call", "row"])
def test_a_deleted_tweet_has_no_content(store, how):
    fill(store, (5, None, WHOLE.text, URL, PICTURE), (6, None, "stays", None, None))
    if how == "call":
        store.delete_tweet(5)
    else:
        fill(store, (5, True, None, None, None))
    assert content_of(store) is None
    assert content_of(store, 6).text == "stays"

    fill(store, (5, False, None, None, None))
    assert content_of(store) is None, "it does not come back with the Tweet"
    fill(store, (5, None, "again", None, None))
    assert content_of(store).text == "again"


@pytest.mark.parametrize(
    "rows",
    [
        [(5, True, "text", None, None)],
        [(5, True, None, None, None), (5, None, "text", None, None)],
        [(5, None, "text", None, None), (5, True, None, None, None)],
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_the_content_of_a_deleted_tweet_is_not_stored(store, rows, at_once):
    for batch in [rows] if at_once else [[row] for row in rows]:
        fill(store, *batch)
    assert store.read_tweets([5])[5].deleted
    assert content_of(store) is None


def test_a_tweet_that_is_restored_with_a_text(store):
    fill(store, (5, True, None, None, None))
    fill(store, (5, False, "again", None, None))
    assert content_of(store).text == "again"


def test_an_erased_account_has_no_contents(store):
    fill(store, (5, None, WHOLE.text, URL, PICTURE), (6, None, "moves", None, None))
    authored = store.read_authored([7])
    store.apply_tweets(make_tweets((6, 8, None, None, None)))
    store.forget(authored)

    assert store.read_contents([5, 6]) == {6: TweetContent("moves", "", "")}
    fill(store, (5, None, None, None, None))
    assert content_of(store) is None


def test_concurrent_changes_of_different_fields_are_both_kept(store):
    ids = range(1, 21)

    def change(*content):
        for tweet_id in ids:
            fill(store, (tweet_id, None, *content))

    threads = [
        threading.Thread(target=change, args=content)
        for content in (("text", None, None), (None, URL, None), (None, None, PICTURE))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.read_contents([*ids])
    assert found == dict.fromkeys(ids, TweetContent("text", URL, PICTURE))


def test_a_deletion_while_texts_are_sent_leaves_none(store):
    ids = range(1, 31)
    fill(store, *((tweet_id, None, "text", None, None) for tweet_id in ids))

    def send():
        for tweet_id in ids:
            fill(store, (tweet_id, None, "changed", URL, None))

    threads = [
        threading.Thread(target=send),
        threading.Thread(target=lambda: [store.delete_tweet(each) for each in ids]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_contents([*ids]) == {}


def test_very_many_contents(store):
    rows = [(tweet_id, None, f"text {tweet_id}", None, None) for tweet_id in range(1, 12_001)]
    fill(store, *rows)
    found = store.read_contents(list(range(1, 12_003)))
    assert len(found) == 12_000
    assert found[11_999].text == "text 11999"
    texts = store.read_texts(list(range(1, 12_003)))
    assert texts == {tweet_id: f"text {tweet_id}" for tweet_id in range(1, 12_001)}
