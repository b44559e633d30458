"""An app's own usage: requests by month, the limit of this minute, and refusals by day."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from openengagement.apps.own_apps import OwnApps
from openengagement.auth.authenticate import app_limits
from openengagement.engagement.months import month_of, months_until
from openengagement.engagement.types import DAY_S
from openengagement.language.current import gettext as _
from openengagement.limits.contract import MINUTE_S, Limits, RateWindow
from openengagement.portal.months import format_month
from openengagement.portal.page_request import PageRequest
from openengagement.portal.remedies import Remedy, explain
from openengagement.portal.rendering import PageRenderer, describe_app
from openengagement.registry.apps import App
from openengagement.registry.usage import REFUSAL_DAYS, Usage
from openengagement.settings import Settings

_MONTHS_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class RefusedOnDay:
    """Refused requests of one day for one reason. `at_s` is the beginning of the day."""

    at_s: int
    code: str
    requests: int
    remedy: Remedy


class AppUsagePage:
    """The handler of `/portal/apps/{app_id}/usage`."""

    def __init__(
        self,
        renderer: PageRenderer,
        apps: OwnApps,
        *,
        usage: Usage,
        read_window: Callable[[App], RateWindow],
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._apps = apps
        self._usage = usage
        self._read_window = read_window
        self._now_s = now_s

    def show(self, request: PageRequest, app: App) -> Response:
        """`GET /portal/apps/{app_id}/usage`."""
        now_s = self._now_s()
        this_month = month_of(now_s)
        months = self._usage.read_app_usage(app.id, months_until(this_month, _MONTHS_SHOWN))
        context = {
            "title": _("Usage of %(app)s", app=app.name),
            "scripts": ("page.js",),
            "app": describe_app(app, state=self._apps.read_state(app)),
            "window": self._read_window(app),
            "months": {
                month: used
                for month, used in months.items()
                if used.requests or month == this_month
            },
            "handles_contracted": app.handles_contracted,
            "format_month": format_month,
            "refusals": self._list_refusals(app, int(now_s // DAY_S)),
            "days": REFUSAL_DAYS,
        }
        return self._renderer.render(request, "developer_usage", context=context)

    def _list_refusals(self, app: App, today: int) -> list[RefusedOnDay]:
        found = self._usage.list_refusals(app.id, oldest_day=today - REFUSAL_DAYS + 1)
        return [
            RefusedOnDay(each.day * DAY_S, each.reason, each.requests, explain(each.reason))
            for each in found
        ]


def read_minute(
    app: App, limits: Limits, *, settings: Settings, now_s: Callable[[], float]
) -> RateWindow:
    """Return the window of this minute of an app. Counts nothing."""
    subject, lengths = app_limits(app, settings)
    return limits.read(subject, {MINUTE_S: lengths[MINUTE_S]}, now_s=now_s())[0]
