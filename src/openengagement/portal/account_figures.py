"""Read the figures of all Tweets of an account, as the API serves them to their author.

One read of the counters covers thousands of Tweets. The rules of access are those of the API: a
protected account has no figures, and old videos have no views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from openengagement.engagement.counters import Ints
from openengagement.engagement.types import HOUR_S, TYPE_NAMES, Endpoint, Tweet
from openengagement.portal.periods import Period
from openengagement.portal.tweet_sums import Ages, TweetSums, age_limits
from openengagement.query import ReadProtected
from openengagement.stores.contract import Stores

TWEETS_MAX: Final = 50_000
_TIMED_LIMITS: Final = age_limits(Endpoint.HISTORICAL)
_TOTALS_LIMITS: Final = age_limits(Endpoint.TOTALS)


@dataclass(frozen=True, slots=True)
class AccountSums:
    """The sums of an account's Tweets, the newest first.

    `by_tweet` is `[tweet, type number]`, `by_hour` is `[hour, type number]`, and `before` that of
    the period before, None if it lies before the oldest time served. If there are more Tweets than
    TWEETS_MAX, the sums are those of the newest.
    """

    tweets: Sequence[Tweet]
    more: bool
    by_tweet: Ints
    by_hour: Ints
    before: Ints | None


class AccountFigures:
    """Reads sums. `floor_s` is the oldest time served, in Unix seconds."""

    def __init__(
        self,
        stores: Stores,
        read_protected: ReadProtected,
        *,
        now_s: Callable[[], float],
        floor_s: int,
    ) -> None:
        self._stores = stores
        self._read_protected = read_protected
        self.now_s = now_s
        self.floor_s = floor_s

    def is_protected(self, account_id: int) -> bool:
        """Tell whether the account is protected. Then nobody, not even the owner, gets metrics."""
        return self._read_protected([account_id]).get(account_id) is not False

    def read(self, account_id: int, period: Period) -> AccountSums:
        """Read the sums of a period, of an account that is not protected.

        Raises:
            StoreUnavailable: try again later.
        """
        tweets, more = self.list(account_id)
        start, end = period.before
        has_before = start * HOUR_S >= self.floor_s
        first = start if has_before else period.start_hour
        by_tweet, by_hour = self._sum(tweets, first, period=period)
        return AccountSums(
            tweets,
            more,
            by_tweet,
            by_hour[period.start_hour - first :],
            by_hour[: end - start] if has_before else None,
        )

    def _sum(
        self, tweets: Sequence[Tweet], start_hour: int, *, period: Period
    ) -> tuple[Ints, Ints]:
        """Add up by Tweet, over the period, and by hour, from `start_hour` to its end."""
        read = partial(
            self._stores.counters.read_window,
            start_hour=start_hour,
            end_hour=period.end_hour,
            tweets_from=period.start_hour,
        )
        sums = read([tweet.tweet_id for tweet in tweets])
        for name, marked in Ages(_TIMED_LIMITS, self.now_s()).mark(tweets).items():
            number, old = TYPE_NAMES.index(name), marked.nonzero()[0].tolist()
            if old and sums.by_hour[:, number].any():
                gone = read([tweets[at].tweet_id for at in old])
                sums.by_tweet[old, number] = 0
                sums.by_hour[:, number] -= gone.by_hour[:, number]
        return sums.by_tweet, sums.by_hour

    def list(self, account_id: int) -> tuple[Sequence[Tweet], bool]:
        """List the newest Tweets of an account, and tell whether there are more of them."""
        listed = self._stores.tweets.list_tweets(account_id, limit=TWEETS_MAX + 1)
        return listed[:TWEETS_MAX], len(listed) > TWEETS_MAX

    def read_tweets(self, tweets: Sequence[Tweet], period: Period | None) -> TweetSums:
        """Read the sums of Tweets over a period, or since they were posted.

        The account must not be protected.

        Raises:
            OverflowError: a sum might be too large.
            StoreUnavailable: try again later.
        """
        ids, counters = [tweet.tweet_id for tweet in tweets], self._stores.counters
        if period is None:
            sums, limits = counters.read_totals(ids, TYPE_NAMES), _TOTALS_LIMITS
        else:
            hours = {"start_hour": period.start_hour, "end_hour": period.end_hour}
            sums, limits = counters.read_window(ids, **hours).by_tweet, _TIMED_LIMITS
        return TweetSums.of(tweets, sums, ages=Ages(limits, self.now_s()))
