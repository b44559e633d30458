"""How the pages show a Tweet: its text, its link and its picture.

Everything here comes from the platform. The templates escape it, only HTTP URLs become links, and
only pictures of allowed hosts are shown.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final
from urllib.parse import urlsplit

from openengagement.engagement.tweets import TweetContent
from openengagement.engagement.types import Tweet, utc_datetime
from openengagement.language.current import current
from openengagement.stores.contract import TweetStore

NAME_LENGTH_MAX: Final = 70  # characters
_YEAR_LENGTH: Final = 4  # a year alone is rather a number in a text
_NO_CONTENT: Final = TweetContent()
# The characters that set a direction until another ends it. Names go without them, or a text could
# turn around what follows its name. Letters keep their own direction.
_DIRECTIONS: Final = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])


@dataclass(frozen=True, slots=True)
class TweetView:
    """A Tweet as a page shows it.

    `name` is one line that tells it from the other Tweets of the page: the start of its text, or
    its id if no text is known. `text`, `url` and `image` are empty if there is none. `host` is that
    of `url`.
    """

    tweet_id: str
    posted_at_s: int
    name: str
    text: str
    url: str
    host: str
    image: str

    @property
    def line(self) -> str:
        """The start of the text on one line, for lists that also show when it was posted."""
        return _shorten(self.text)


class TweetViews:
    """Describes Tweets for the pages.

    `url_template` makes the link of a Tweet without one of its own, from `{id}`; it may be empty.
    Pictures are shown if their host is one of `image_hosts`.
    """

    def __init__(
        self, tweets: TweetStore, *, url_template: str, image_hosts: Collection[str]
    ) -> None:
        self._tweets = tweets
        self._url_template = url_template
        self._image_hosts = image_hosts

    def describe(self, tweets: Sequence[Tweet]) -> dict[str, TweetView]:
        """Describe Tweets, in their order, by id."""
        contents = self._tweets.read_contents([tweet.tweet_id for tweet in tweets])
        found = {tweet: contents.get(tweet.tweet_id, _NO_CONTENT) for tweet in tweets}
        names = {tweet: _shorten(content.text) for tweet, content in found.items()}
        repeated = {name for name, count in Counter(names.values()).items() if count > 1}
        return {
            str(tweet.tweet_id): self._view(
                tweet, content, name=_distinguish(tweet, names[tweet], repeated=repeated)
            )
            for tweet, content in found.items()
        }

    def search(self, tweets: Sequence[Tweet], text: str) -> Sequence[Tweet]:
        """Find the Tweets that match every word: in their text, as their id, or as their date.

        A date in UTC may be a whole one, or its beginning, such as `2026-11`.
        """
        words = text.casefold().split()
        if not words:
            return tweets
        texts = self._tweets.read_texts([tweet.tweet_id for tweet in tweets])
        folded = [texts.get(tweet.tweet_id, "").casefold() for tweet in tweets]
        for word in words:
            matching = _match(tweets, folded, word=word)
            tweets, folded = [*compress(tweets, matching)], [*compress(folded, matching)]
        return tweets

    def _view(self, tweet: Tweet, content: TweetContent, *, name: str) -> TweetView:
        url = content.url or self._url_template.replace("{id}", str(tweet.tweet_id))
        host = _host_of(url, "http", "https")
        picture_host = _host_of(content.thumbnail_url, "https")
        return TweetView(
            tweet_id=str(tweet.tweet_id),
            posted_at_s=tweet.created_at_s,
            name=name,
            text=content.text.strip(),
            url=url if host else "",
            host=host.removeprefix("www."),
            image=content.thumbnail_url if picture_host in self._image_hosts else "",
        )


def _match(tweets: Sequence[Tweet], folded: Sequence[str], *, word: str) -> list[bool]:
    """Tell which Tweets match a word. There may be 50,000 of them."""
    if not word[0].isdigit():
        return [word in text for text in folded]
    pairs = zip(tweets, folded, strict=True)
    return [word in text or _is_id_or_day(tweet, word) for tweet, text in pairs]


def _is_id_or_day(tweet: Tweet, word: str) -> bool:
    if len(word) > _YEAR_LENGTH and "-" in word:
        return utc_datetime(tweet.created_at_s).date().isoformat().startswith(word)
    return word == str(tweet.tweet_id)


def _host_of(url: str, *schemes: str) -> str:
    """Return the host of a URL with one of these schemes. Any other text has none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # of a host that no browser accepts either
        return ""
    return parts.netloc.lower() if parts.scheme in schemes else ""


def _shorten(text: str) -> str:
    """Return the start of a text on one line, cut after a word if possible."""
    line = " ".join(text.translate(_DIRECTIONS).split())
    if len(line) <= NAME_LENGTH_MAX:
        return line
    start = line[:NAME_LENGTH_MAX]
    return f"{start.rpartition(' ')[0] or start}…"


def _distinguish(tweet: Tweet, name: str, *, repeated: Collection[str]) -> str:
    if not name:
        return str(tweet.tweet_id)
    if name not in repeated:
        return name
    return f"{name} ({current().formats.moment(tweet.created_at_s)} UTC)"
