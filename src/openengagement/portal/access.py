"""Who may see a page, and what other people get instead."""

from enum import Enum
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.language.current import gettext_noop
from openengagement.portal.rendering import Refusal, redirect

MANAGERS_ONLY: Final = Refusal(
    403,
    gettext_noop("This page is for the platform's managers"),
    gettext_noop(
        "Your account has the role of a member. If you manage the platform's apps, ask the "
        "operator of this server to make your account a manager."
    ),
)


class Access(Enum):
    """Who may see a page."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    MANAGER = "manager"
    PROVEN_MANAGER = "manager with a second factor, or vouched for by a provider"


SECOND_FACTOR_PATH: Final = "/settings/security?for=manage"


def sign_in_first(page: str) -> Response:
    """Redirect to the sign-in page, which returns to `page`, a path and query of this server."""
    return redirect(f"/sign-in?{urlencode({'return_to': page})}")
