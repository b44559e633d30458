"""Whose figures a page shows: one's own, or those of an account that shares them.

Pages of shared figures have paths below `/shared/ACCOUNT-ID/`. Each request looks for the share
again, in the registry, so that a revoked share ends with the next request on every worker.
"""

from collections.abc import Callable
from typing import Final

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.language.current import gettext_noop
from openengagement.portal.page_request import PageRequest
from openengagement.portal.rendering import PageRenderer, Refusal
from openengagement.registry.shares import Shares

SHARED_PREFIX: Final = "/shared/{owner_id}"
# The same for an account that does not exist, that never shared, or that has ended the share.
_NOT_SHARED: Final = Refusal(
    403,
    gettext_noop("These figures are not shared with you"),
    gettext_noop(
        "Ask the account's owner to share them with you. An owner can end a share at any time."
    ),
)

_Handler = Callable[[PageRequest], Response]


class Viewing:
    """Wraps the handlers of pages of figures."""

    def __init__(
        self, renderer: PageRenderer, shares: Shares, *, now_s: Callable[[], float]
    ) -> None:
        self._renderer = renderer
        self._shares = shares
        self._now_s = now_s

    def own(self, handler: _Handler) -> _Handler:
        """Show one's own figures, with links to those that others share."""

        def handle(request: PageRequest) -> Response:
            request.owners = self._shares.list_owners(request.account_id)
            return handler(request)

        return handle

    def shared(self, handler: _Handler) -> _Handler:
        """Show the figures of the account in the path, if it shares them with this person."""

        def handle(request: PageRequest) -> Response:
            owner_id = parse_decimal(request.params["owner_id"], maximum=ID_MAX)
            if owner_id is not None:
                request.author = self._shares.use(
                    owner_id=owner_id, viewer_id=request.account_id, now_s=int(self._now_s())
                )
            if request.author is None:
                return self._renderer.refuse(request, _NOT_SHARED)
            return self.own(handler)(request)

        return handle
