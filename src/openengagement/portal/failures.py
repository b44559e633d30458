"""Failures of the server, and requests that it cannot read, in the words of a page."""

from collections.abc import Mapping
from typing import Final

from openengagement.portal.rendering import Refusal

_REFUSALS: Final[Mapping[int, Refusal]] = {
    refusal.status: refusal
    for refusal in (
        Refusal(
            403,
            "This address needs a secure connection",
            "Write https:// in front of the address.",
        ),
        Refusal(
            408,
            "The form arrived too slowly",
            "Go back, check your connection and send the form again.",
        ),
        Refusal(
            413,
            "The form is too long",
            "If your session has ended, sign in again in another window first. Then go back and "
            "send the form again, or shorten it.",
        ),
        Refusal(
            421,
            "This site has another address",
            "Use the address that the platform gave you.",
        ),
        Refusal(
            431,
            "The address or the cookies are too long",
            "Delete the cookies of this site, and try again.",
        ),
        Refusal(
            503,
            "This page cannot be shown now",
            "The server is busy, or cannot read its data. Wait a moment and reload the page.",
        ),
    )
}
_REFUSED: Final = ("The server cannot read this request", "Go back and try again.")
_FAILED: Final = ("Something went wrong here", "It is not your fault. Try again in a moment.")
_SERVER_ERROR: Final = 500


def describe_failure(status: int) -> Refusal:
    """Describe a failure by the status of its answer."""
    known = _REFUSALS.get(status)
    return known or Refusal(status, *(_FAILED if status >= _SERVER_ERROR else _REFUSED))
