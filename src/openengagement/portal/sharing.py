"""Sharing: who may see my figures, and whose figures I may see."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.limits.contract import Limits
from openengagement.portal.manage_views import actor_of
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, redirect
from openengagement.registry.shares import Refused, ShareRefused, Shares

SHARING_PATH: Final = "/settings/sharing"
# Each try tells whether an account has a screen name, so tries are limited.
TRIES_WINDOW_S: Final = 3600
TRIES_MAX: Final = 50
_TOO_MANY_TRIES: Final = gettext_noop("You have tried many screen names. Try again in an hour.")
_TEXTS: Final[Mapping[Refused, str]] = {
    Refused.UNKNOWN: gettext_noop("No account has this screen name. Check its spelling."),
    Refused.SELF: gettext_noop("This is your own account. Write the screen name of somebody else."),
    Refused.TOO_MANY: gettext_noop(
        "You share with %(most)s accounts, which is the maximum. Stop sharing with one of them "
        "first."
    ),
    Refused.FULL: gettext_noop(
        "This account sees the figures of as many accounts as it can. Ask its owner to leave one "
        "of them first."
    ),
}
_STATUSES: Final = {Refused.UNKNOWN: 400, Refused.SELF: 400}


class SharingPage:
    """Handlers of `/settings/sharing`. An owner may have `most` viewers."""

    def __init__(
        self,
        renderer: PageRenderer,
        shares: Shares,
        *,
        limits: Limits,
        most: int,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._shares = shares
        self._limits = limits
        self._most = most
        self._now_s = now_s

    def show(self, request: PageRequest) -> Response:
        """`GET /settings/sharing`."""
        return self._render(request)

    def add(self, request: PageRequest) -> Response:
        """`POST /settings/sharing`: let an account see one's figures."""
        assert request.session is not None, "the page's route demands a sign-in"
        name = request.fields.get("screen_name", "").strip().removeprefix("@")[:64]
        if self._is_guessing(request.account_id):
            return self._render(request, name=name, fault=_(_TOO_MANY_TRIES), status=429)
        try:
            shown = self._shares.add(
                actor_of(request.session), name, most=self._most, now_s=int(self._now_s())
            )
        except ShareRefused as error:
            fault = _(_TEXTS[error.reason], most=self._most)
            status = _STATUSES.get(error.reason, 409)
            return self._render(request, name=name, fault=fault, status=status)
        return redirect(f"{SHARING_PATH}?{urlencode({'shared': shown})}")

    def end(self, request: PageRequest) -> Response:
        """`POST /settings/sharing/end`: revoke a share, or leave one."""
        assert request.session is not None, "the page's route demands a sign-in"
        own_id = request.account_id
        ids = {
            "owner_id": parse_decimal(request.fields.get("owner_id", ""), maximum=ID_MAX),
            "viewer_id": parse_decimal(request.fields.get("viewer_id", ""), maximum=ID_MAX),
        }
        given = {side: each for side, each in ids.items() if each is not None}
        if len(given) == 1:  # the other side of the share
            sides = {"owner_id": own_id, "viewer_id": own_id, **given}
            actor = actor_of(request.session)
            self._shares.end(actor, **sides, now_s=int(self._now_s()))
        return redirect(SHARING_PATH)

    def _is_guessing(self, account_id: int) -> bool:
        subject = hashlib.blake2b(f"share:{account_id}".encode(), digest_size=16).digest()
        (window,) = self._limits.count(subject, {TRIES_WINDOW_S: TRIES_MAX}, now_s=self._now_s())
        return window.exceeded

    def _render(
        self, request: PageRequest, *, name: str = "", fault: str | None = None, status: int = 200
    ) -> Response:
        viewers = self._shares.list_viewers(request.account_id)
        shared = request.query.get("shared", "")
        context: dict[str, Any] = {
            "title": _("Sharing"),
            "scripts": ("page.js",),
            "viewers": viewers,
            "shared_with_me": self._shares.list_owners(request.account_id),
            "most": self._most,
            "screen_name": name,
            "fault": fault,
            "shared": shared if any(each.screen_name == shared for each in viewers) else "",
        }
        return self._renderer.render(request, "sharing", context=context, status=status)
