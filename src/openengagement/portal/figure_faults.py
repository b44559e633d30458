"""Why the API refuses the figures of a page, in the words of the page. Pure functions."""

from typing import Final

from openengagement.api_error import ApiError
from openengagement.errors import (
    ForbiddenTweets,
    InvalidField,
    RequestError,
    TweetsTooOld,
    TweetsUnavailable,
    UnsupportedTypes,
)

_DATE: Final = "Write a date, such as 2026-11-28."
_OTHERS: Final = "Choose your Tweets under My Tweets."
# Part of the API's text -> the field of the page's form, empty for none, and what to do.
_RULES: Final = {
    "start: is not": ("start", _DATE),
    "end: is not": ("end", _DATE),
    "start: must lie before end": ("end", "Choose the first day or a later one."),
    "start: lies more than 4 weeks": ("end", "Choose at most 28 days."),
    "end: lies in the future": ("end", "Choose a day that has begun."),
    "start: lies before": ("start", "Choose a later day: there are no figures of this one."),
    "Tweet IDs, at most": ("", "A chart has at most 25 Tweets. Choose fewer under My Tweets."),
}
# Kinds of refusals that the person can mend.
_KINDS: Final[dict[type[ApiError], tuple[str, str]]] = {
    UnsupportedTypes: ("metric", "Choose a metric of the list."),
    TweetsUnavailable: ("", f"None of these Tweets can be shown: they are not there. {_OTHERS}"),
    TweetsTooOld: ("", "These Tweets are too old for this metric. Choose another metric."),
    ForbiddenTweets: ("", f"One of these Tweets is not yours. {_OTHERS}"),
}
_UNREADABLE: Final = f"The address of this page is damaged. {_OTHERS}"
NOT_NOW: Final = "The figures cannot be read now. Wait a moment and reload the page."


def find_figure_faults(error: ApiError) -> dict[str, str]:
    """Map the fields of a chart's form to what to do; an empty name stands for no field."""
    if isinstance(error, InvalidField):
        text = "; ".join(error.texts)
        found = [fault for part, fault in _RULES.items() if part in text]
        return dict(found) or {"": _UNREADABLE}
    for kind, (field, text) in _KINDS.items():
        if isinstance(error, kind):
            return {field: text}
    return {"": _UNREADABLE if isinstance(error, RequestError) else NOT_NOW}
