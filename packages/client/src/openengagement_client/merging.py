"""Merge the responses to the requests of a plan, as if the server had given one large response.

Merging adds up counts with the same keys. Keys stay in the order of the first that has them.
Responses are merged in the order of the plan, so Tweets come in the order of the request, and days
ascend. `split_window` cuts at midnights, so hours and days ascend too.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

from openengagement_client.errors import UnexpectedAnswer
from openengagement_client.responses import DataResponse, Tree

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def merge_responses(responses: Iterable[DataResponse]) -> DataResponse:
    """Merge responses in their order. They are used up: the result contains their trees.

    Raises:
        UnexpectedAnswer: the same key has a count in one and an object in another, or a count is
            not a whole number.
    """
    merged = DataResponse()
    for response in responses:
        add_response(merged, response)
    return merged


def add_response(merged: DataResponse, response: DataResponse) -> None:
    """Add a response to `merged`, which is changed."""
    for name, tree in response.groupings.items():
        try:
            add_tree(merged.groupings.setdefault(name, {}), tree)
        except (AttributeError, RecursionError, TypeError, ValueError):
            raise UnexpectedAnswer(f"the answers have different forms of {name!r}") from None
    merged.start = _first(merged.start, response.start, pick=min)
    merged.end = _first(merged.end, response.end, pick=max)
    for mine, more in (
        (merged.unavailable, response.unavailable),
        (merged.unsupported_totals, response.unsupported_totals),
        (merged.unsupported_video, response.unsupported_video),
        (merged.forbidden, response.forbidden),
    ):
        add_unique(mine, more)
    add_messages(merged.messages, response.messages)


def add_tree(tree: Tree, more: Tree) -> None:
    """Add the counts of `more` to `tree`, which is changed and then shares parts of `more`."""
    for key, value in more.items():
        mine = tree.get(key)
        if mine is None:
            tree[key] = value
        elif isinstance(value, dict):
            add_tree(mine, value)
        else:
            tree[key] = str(int(mine) + int(value))


def add_unique(known: list[str], more: list[str]) -> None:
    """Append the texts that are not in the list yet."""
    if more:
        have = set(known)
        known += [each for each in dict.fromkeys(more) if each not in have]


def add_messages(known: list[str], more: list[str]) -> None:
    """Append the messages that are not in the list yet, whatever time they name.

    "... older than 90 days (2026-08-31T00:47:00Z) are not supported" is new every second.
    """
    have = {_TIME.sub("", each) for each in known}
    for each in more:
        if (text := _TIME.sub("", each)) not in have:
            have.add(text)
            known.append(each)


def _first(one: str | None, other: str | None, *, pick: Callable[[list[str]], str]) -> str | None:
    """Return the one that is given. Times of the wire compare as text."""
    given = [each for each in (one, other) if each is not None]
    return pick(given) if given else None
