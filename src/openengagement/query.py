"""Answer a request: parse it, read the Tweets, decide, read the counters, fold, encode.

The work has two halves, so that the server can choose a thread for each. `prepare` is short. The
time of `answer` grows with the number of counters.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np

from openengagement.engagement.access import Decision, Policy, decide_access
from openengagement.engagement.grouping import Counts, build_cube, fold_grouping
from openengagement.engagement.request import InsightsRequest, parse_request
from openengagement.engagement.types import Endpoint, Tweet
from openengagement.settings import Settings
from openengagement.stores.contract import Stores

# Maps those of these accounts that are registered to whether they are protected.
ReadProtected = Callable[[Sequence[int]], dict[int, bool]]
_AUTHOR_ID: Final = attrgetter("author_id")
_DELETED: Final = attrgetter("deleted")


class Plan(msgspec.Struct, frozen=True):
    """A request that may be answered. No counter has been read yet."""

    request: InsightsRequest
    decision: Decision


class Query:
    """Answers requests to the three endpoints from the stores.

    `blocking` says that `read_protected` may wait for a network. The attribute of this name says it
    of all calls; if it is true, none may run on the event loop.
    """

    def __init__(
        self,
        stores: Stores,
        read_protected: ReadProtected,
        *,
        blocking: bool,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        self._counters, self._tweets = stores.counters, stores.tweets
        self.blocking = blocking or stores.counters.blocking or stores.tweets.blocking
        self._read_protected = read_protected
        self._settings = settings
        self._now_s = now_s
        self._policy = Policy(settings.forbidden_text, settings.partial_ownership)
        self._floor_s = settings.historical_floor_s

    def prepare(self, endpoint: Endpoint, body: bytes, *, user_id: int | None) -> Plan:
        """Parse a request and decide what it may read.

        `user_id` is the owner of the access token, None if the app has none.

        Raises:
            RequestError, AccessError: a subclass, if the request is refused.
            StoreUnavailable: try again later.
        """
        now_s = self._now_s()
        request = parse_request(
            endpoint,
            body,
            now_s=now_s,
            floor_s=self._floor_s,
            groupings_max=self._settings.groupings_max,
        )
        decision = decide_access(
            request.types,
            tweets=self._read_available(request.tweet_ids),
            user_id=user_id,
            now_s=now_s,
            policy=self._policy,
        )
        return Plan(request, decision)

    def _read_available(self, tweet_ids: Sequence[int]) -> Mapping[int, Tweet | None]:
        """Read Tweets in the given order, None for each that may not be shown.

        A Tweet is not shown before its author is registered, because the author may be protected.
        """
        tweets = self._tweets.read_tweets(tweet_ids)
        author_ids = {*map(_AUTHOR_ID, tweets.values())}
        protected = self._read_protected([*author_ids])
        public = {author_id for author_id, value in protected.items() if value is False}
        all_shown = len(tweets) == len(tweet_ids) and public == author_ids
        if all_shown and not any(map(_DELETED, tweets.values())):
            return tweets  # as nearly always; the loop below takes several times as long
        return {
            tweet_id: tweet if tweet and not tweet.deleted and tweet.author_id in public else None
            for tweet_id, tweet in zip(tweet_ids, map(tweets.get, tweet_ids), strict=True)
        }

    def answer(self, plan: Plan) -> bytes:
        """Read the counters and fold them into the body of the answer (api.md 3.1).

        Raises:
            StoreUnavailable: try again later.
        """
        request, decision = plan.request, plan.decision
        cube = build_cube(
            self._read_counts(plan),
            decision.tweet_ids,
            types=list(request.types),
            window=request.window,
        )
        body: dict[str, object] = {}
        if request.window:
            body |= {"start": request.window.start, "end": request.window.end}
        body |= decision.arrays
        if self._settings.always_list_unavailable:
            body.setdefault("unavailable_tweet_ids", ())
        if decision.errors:
            body["errors"] = decision.errors
        for name, group_by in request.groupings.items():
            body[name] = msgspec.Raw(fold_grouping(group_by, cube))
        return msgspec.json.encode(body)

    def prepare_and_answer(
        self, endpoint: Endpoint, body: bytes, *, user_id: int | None
    ) -> tuple[Plan, bytes]:
        """Prepare and answer in one call.

        Raises:
            RequestError, AccessError, StoreUnavailable: as `prepare` and `answer`.
        """
        plan = self.prepare(endpoint, body, user_id=user_id)
        return plan, self.answer(plan)

    def _read_counts(self, plan: Plan) -> Counts:
        """Read counts, `[tweet, type, hour]`, zero where a Tweet is too old for a type."""
        request, tweet_ids = plan.request, plan.decision.tweet_ids
        asked = [rule.counted for rule in request.types.values()]
        counted = list(dict.fromkeys(asked))
        window = request.window
        if window is None:
            counts = self._counters.read_totals(tweet_ids, counted)[:, :, np.newaxis]
        else:
            counts = self._counters.read_buckets(
                tweet_ids, counted, start_hour=window.start_hour, end_hour=window.end_hour
            )
        for name, old in plan.decision.zeroed.items():
            rows = [index for index, tweet_id in enumerate(tweet_ids) if tweet_id in old]
            counts[rows, counted.index(name)] = 0
        if len(counted) == len(asked):
            return counts
        return counts[:, [counted.index(name) for name in asked]]
