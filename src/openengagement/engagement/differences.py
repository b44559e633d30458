"""Compare the counters of two stores.

The *plain form* of a store's counters has every hour but hour 0, and at hour 0 what the totals have
beyond these hours: the counters of hours that were pruned. So two stores with equal plain forms
have equal hours and equal totals. No answer shows hour 0, which is in 1970.
"""

from collections.abc import Iterable

import numpy as np

from openengagement.engagement.counters import Counters, Ints, merge, to_totals


def plain_form(hours: Counters, totals: Counters) -> Counters:
    """Return the plain form of counters by the hour and in total."""
    recent = hours.since(1)
    return merge([recent, subtract(totals, to_totals(recent))])


def subtract(counters: Counters, others: Counters) -> Counters:
    """Return what must be added to `others` to get `counters`."""
    negated = Counters(others.ids, others.starts, others.cells, -others.counts.astype(np.int64))
    return merge([counters, negated])


def between(parts: Iterable[Counters], *, after_id: int, last_id: int) -> list[Counters]:
    """Select the Tweets with `after_id` < id <= `last_id` of each part. Verifies what it reads."""
    return [
        part.between(find_after(part, after_id), find_after(part, last_id))
        for part in parts
        if len(part.ids)
    ]


def find_after(part: Counters, tweet_id: int) -> int:
    """Return the index of the first Tweet whose id is larger."""
    if part.verifier is not None and part.verifier.pending:
        part.verifier.prepare_search()
    index = int(part.ids.searchsorted(tweet_id, side="right"))
    if part.verifier is not None and part.verifier.pending and len(part.ids):
        # A damaged id could mislead the search. Then an id beside the index is damaged.
        neighbour: Ints = np.array([min(index, len(part.ids) - 1)])
        part.verifier.verify(neighbour)
    return index
