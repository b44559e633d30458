"""The methods that the synchronous and the asynchronous client of the Engagement API share."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Generic, TypeVar

from openengagement_client.credentials import Credentials, load_profile
from openengagement_client.queries import (
    Groupings,
    Query,
    TweetId,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from openengagement_client.rate_limits import RateLimit
from openengagement_client.retry_policy import RetryPolicy
from openengagement_client.sessions import open_session
from openengagement_client.transport import Options
from openengagement_client.windows import Time

Returned = TypeVar("Returned")


class QueryMethods(ABC, Generic[Returned]):
    """Builds queries and runs them. `Returned` is a result, or an awaitable one.

    `url` and `credentials` that are not given come from `profile`, the environment or `.env`, as
    `load_profile` says.

    Raises:
        ConfigurationError: there is no URL, or it or the profile is unusable.
    """

    def __init__(
        self,
        url: str | None = None,
        credentials: Credentials | None = None,
        *,
        profile: str | None = None,
        policy: RetryPolicy | None = None,
        options: Options | None = None,
    ) -> None:
        self._options = options or Options()
        found = load_profile(url, credentials, profile=profile)
        plain_http = self._options.allow_plain_http
        self._session = open_session(found, policy, allow_plain_http=plain_http)
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Make what sends the requests."""

    @property
    def rate_limits(self) -> dict[str, RateLimit]:
        """The app's rate limits by unit, `minute` and `second`, as the last answers showed them."""
        return self._session.rate_limits.seen

    @abstractmethod
    def run(self, query: Query) -> Returned:
        """Run a query and return one result, as if one request had asked for everything.

        Raises:
            EngagementError: as `errors.py` says.
        """

    def totals(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Returned:
        """Return the counts since each Tweet was posted.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(totals_query(tweet_ids, engagement_types, groupings=groupings))

    def last_28_hours(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
    ) -> Returned:
        """Return the counts of the last 28 hours.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(last_28_hours_query(tweet_ids, engagement_types, groupings=groupings))

    def historical(
        self,
        tweet_ids: Iterable[TweetId],
        engagement_types: Iterable[str],
        *,
        groupings: Groupings = None,
        start: Time | None = None,
        end: Time | None = None,
    ) -> Returned:
        """Return the counts from `start` to `end`, or of the last 28 days.

        Raises:
            EngagementError: as `errors.py` says.
        """
        return self.run(
            historical_query(tweet_ids, engagement_types, groupings=groupings, start=start, end=end)
        )
