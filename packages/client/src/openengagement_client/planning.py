"""Split a query of any size into requests that the wire allows. Pure functions.

The Tweets are taken in groups of 250 (`/totals`) or 25. For each group, the plan has a request for
every window of 28 days and every three groupings.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product

from openengagement_client.endpoints import DIMENSIONS_MAX, GROUPINGS_MAX, Endpoint
from openengagement_client.queries import GroupBy, Query
from openengagement_client.windows import Window, split_window


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a plan. The Tweet ids are unique."""

    endpoint: Endpoint
    tweet_ids: tuple[str, ...]
    engagement_types: tuple[str, ...]
    groupings: Mapping[str, GroupBy]
    window: Window

    def body(self, tweet_ids: Iterable[str]) -> bytes:
        """Encode the body of the request for these of its Tweets."""
        groupings = {name: {"group_by": group_by} for name, group_by in self.groupings.items()}
        fields = {
            "tweet_ids": list(tweet_ids),
            "engagement_types": self.engagement_types,
            "groupings": groupings,
            **self.window.fields,
        }
        return json.dumps(fields, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Group:
    """Tweets that are asked for together, and the requests for them."""

    tweet_ids: tuple[str, ...]
    requests: tuple[Request, ...]


def plan_groups(query: Query, tweet_ids: Iterator[str]) -> Iterator[Group]:
    """Plan the requests, one group of Tweets after the other, reading the ids as needed."""
    windows = tuple(split_window(query.window))
    batches = tuple(split_groupings(query.groupings))
    for group in split_ids(tweet_ids, query.endpoint.tweets_max):
        requests = (
            Request(query.endpoint, group, query.engagement_types, groupings, window)
            for window, groupings in product(windows, batches)
        )
        yield Group(group, tuple(requests))


def split_ids(tweet_ids: Iterator[str], most: int) -> Iterator[tuple[str, ...]]:
    """Split ids into groups of at most `most`. An id is in a group once."""
    while group := dict.fromkeys(islice(tweet_ids, most)):
        while len(group) < most and (more := dict.fromkeys(islice(tweet_ids, most - len(group)))):
            group |= more
        yield tuple(group)


def split_groupings(groupings: Mapping[str, GroupBy]) -> Iterator[dict[str, GroupBy]]:
    """Split groupings into batches: at most three, of which at most one has four dimensions."""
    batch: dict[str, GroupBy] = {}
    for name, group_by in groupings.items():
        has_four = any(len(each) == DIMENSIONS_MAX for each in batch.values())
        if len(batch) == GROUPINGS_MAX or (has_four and len(group_by) == DIMENSIONS_MAX):
            yield batch
            batch = {}
        batch[name] = group_by
    yield batch


def count_requests(query: Query, tweets: int) -> int:
    """Return how many requests a query for so many Tweets takes. Its window must be complete."""
    groups = -(-tweets // query.endpoint.tweets_max)
    windows = sum(1 for _ in split_window(query.window))
    return groups * windows * sum(1 for _ in split_groupings(query.groupings))
