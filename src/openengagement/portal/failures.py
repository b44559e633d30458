"""Failures of the server, and requests that it cannot read, in the words of a page."""

from collections.abc import Mapping
from typing import Final

from openengagement.language.current import gettext_noop
from openengagement.portal.rendering import Refusal

_REFUSALS: Final[Mapping[int, Refusal]] = {
    refusal.status: refusal
    for refusal in (
        Refusal(
            403,
            gettext_noop("This address needs a secure connection"),
            gettext_noop("Write https:// in front of the address."),
        ),
        Refusal(
            408,
            gettext_noop("The form arrived too slowly"),
            gettext_noop("Go back, check your connection and send the form again."),
        ),
        Refusal(
            413,
            gettext_noop("The form is too long"),
            gettext_noop(
                "If your session has ended, sign in again in another window first. Then go back "
                "and send the form again, or shorten it."
            ),
        ),
        Refusal(
            421,
            gettext_noop("This site has another address"),
            gettext_noop("Use the address that the platform gave you."),
        ),
        Refusal(
            431,
            gettext_noop("The address or the cookies are too long"),
            gettext_noop("Delete the cookies of this site, and try again."),
        ),
        Refusal(
            503,
            gettext_noop("This page cannot be shown now"),
            gettext_noop(
                "The server is busy, or cannot read its data. Wait a moment and reload the page."
            ),
        ),
    )
}
_REFUSED: Final = (
    gettext_noop("The server cannot read this request"),
    gettext_noop("Go back and try again."),
)
_FAILED: Final = (
    gettext_noop("Something went wrong here"),
    gettext_noop("It is not your fault. Try again in a moment."),
)
_SERVER_ERROR: Final = 500


def describe_failure(status: int) -> Refusal:
    """Describe a failure by the status of its answer."""
    known = _REFUSALS.get(status)
    return known or Refusal(status, *(_FAILED if status >= _SERVER_ERROR else _REFUSED))
