"""Who may see a page."""

from enum import Enum
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import Refusal, redirect

MANAGERS_ONLY: Final = Refusal(
    403,
    "This page is for the platform's managers",
    "Your account has the role of a member. If you manage the platform's apps, ask the operator of "
    "this server to make your account a manager.",
)


class Access(Enum):
    """Who may see a page."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    MANAGER = "manager"


def decide_access(access: Access, request: PageRequest) -> Refusal | None:
    """Refuse a page to a person who is signed in but lacks the role for it."""
    session = request.session
    if access is Access.MANAGER and session is not None and not session.is_manager:
        return MANAGERS_ONLY
    return None


def sign_in_first(request: PageRequest, *, posted: bool) -> Response:
    """Redirect to the sign-in page, which returns to this page; after a form, without its query."""
    query = "" if posted else urlencode(request.query_pairs)
    here = f"{request.path}?{query}" if query else request.path
    return redirect(f"/sign-in?{urlencode({'return_to': here})}")
