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
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop

_DATE: Final = gettext_noop("Write a date, such as 2026-11-28.")
# Part of the API's text -> the field of the page's form, empty for none, and what to do.
_RULES: Final = {
    "start: is not": ("start", _DATE),
    "end: is not": ("end", _DATE),
    "start: must lie before end": ("end", gettext_noop("Choose the first day or a later one.")),
    "start: lies more than 4 weeks": ("end", gettext_noop("Choose at most 28 days.")),
    "end: lies in the future": ("end", gettext_noop("Choose a day that has begun.")),
    "start: lies before": (
        "start",
        gettext_noop("Choose a later day: there are no figures of this one."),
    ),
    "Tweet IDs, at most": (
        "",
        gettext_noop("A chart has at most 25 {tweets}. Choose fewer under My {tweets}."),
    ),
}
# Kinds of refusals that the person can mend.
_KINDS: Final[dict[type[ApiError], tuple[str, str]]] = {
    UnsupportedTypes: ("metric", gettext_noop("Choose a metric of the list.")),
    TweetsUnavailable: (
        "",
        gettext_noop(
            "None of these {tweets} can be shown: they are not there. Choose others under My "
            "{tweets}."
        ),
    ),
    TweetsTooOld: (
        "",
        gettext_noop("These {tweets} are too old for this metric. Choose another metric."),
    ),
    ForbiddenTweets: (
        "",
        gettext_noop("Some of these {tweets} are not yours. Choose others under My {tweets}."),
    ),
}
_UNREADABLE: Final = gettext_noop(
    "The address of this page is damaged. Choose {tweets} under My {tweets}."
)
NOT_NOW: Final = gettext_noop("The figures cannot be read now. Wait a moment and reload the page.")


def find_figure_faults(error: ApiError) -> dict[str, str]:
    """Map the fields of a chart's form to what to do; an empty name stands for no field."""
    if isinstance(error, InvalidField):
        text = "; ".join(error.texts)
        found = [fault for part, fault in _RULES.items() if part in text]
        return {field: _(fault) for field, fault in found} or {"": _(_UNREADABLE)}
    for kind, (field, text) in _KINDS.items():
        if isinstance(error, kind):
            return {field: _(text)}
    return {"": _(_UNREADABLE if isinstance(error, RequestError) else NOT_NOW)}
