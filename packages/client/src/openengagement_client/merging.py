"""Merge the answers to the requests of a plan, as if the server had given one large answer.

Merging adds up counts with the same keys. Keys stay in the order of the first answer that has them.
Answers are merged in the order of the plan, so Tweets come in the order of the request, and days
ascend. `split_window` cuts at midnights, so hours and days ascend too.
"""

from collections.abc import Callable, Iterable

from openengagement_client.answers import Answer, Tree


def merge_answers(answers: Iterable[Answer]) -> Answer:
    """Merge answers in their order. They are used up: the result contains their trees."""
    merged = Answer()
    for answer in answers:
        add_answer(merged, answer)
    return merged


def add_answer(merged: Answer, answer: Answer) -> None:
    """Add an answer to `merged`, which is changed."""
    for name, tree in answer.groupings.items():
        add_tree(merged.groupings.setdefault(name, {}), tree)
    merged.start = _first(merged.start, answer.start, pick=min)
    merged.end = _first(merged.end, answer.end, pick=max)
    for mine, more in (
        (merged.messages, answer.messages),
        (merged.unavailable, answer.unavailable),
        (merged.unsupported_totals, answer.unsupported_totals),
        (merged.unsupported_video, answer.unsupported_video),
        (merged.forbidden, answer.forbidden),
    ):
        add_unique(mine, more)


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


def _first(one: str | None, other: str | None, *, pick: Callable[[list[str]], str]) -> str | None:
    """Return the one that is given. Times of the wire compare as text."""
    given = [each for each in (one, other) if each is not None]
    return pick(given) if given else None
