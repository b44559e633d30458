"""What every page's handler needs: its template filled in with who is looking at it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.responses import Response

from openengagement.portal.rendering import Renderer
from openengagement.portal.visits import Visit, Visits


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a page cannot be shown: an HTTP status, what happened, and what to do about it."""

    status: int
    heading: str
    text: str


class Desk:
    """Renders pages for a visit."""

    def __init__(self, renderer: Renderer, visits: Visits) -> None:
        self._renderer = renderer
        self._visits = visits

    def asset(self, name: str, *, gzip: bool) -> Response | None:
        """Return a static file by its hashed name, compressed or not; None if there is none."""
        return self._renderer.assets.respond(name, gzip=gzip)

    def page(
        self,
        visit: Visit,
        template: str,
        *,
        context: Mapping[str, Any],
        status: int = 200,
        leads_to: tuple[str, ...] = (),
    ) -> Response:
        """A page for this visit."""
        common = {
            "viewer": visit.viewer,
            "csrf_token": self._visits.csrf_token(visit),
            "here": visit.path,
            "scripts": (),
        }
        return self._renderer.page(
            template, {**common, **context}, status=status, leads_to=leads_to
        )

    def refuse(self, visit: Visit, refusal: Refusal) -> Response:
        """A page that says why not, and what to do."""
        context = {"title": refusal.heading, **asdict(refusal)}
        return self.page(visit, "error", context=context, status=refusal.status)
