"""The manager's console: decide on apps and their limits, see their usage and the audit log."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from openengagement.engagement.months import month_of, months_around, months_until, parse_month
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _
from openengagement.portal.access import MANAGERS_ONLY
from openengagement.portal.manage_views import (
    DECISIONS,
    InvalidNumber,
    actor_of,
    describe_done,
    describe_error,
    describe_limits,
    fingerprint,
    keeps_typed,
    list_missing_fields,
    read_approved_columns,
    read_id,
    read_limits,
    read_search,
    read_text,
    usage_csv,
)
from openengagement.portal.months import format_month
from openengagement.portal.page_request import PageRequest, with_query
from openengagement.portal.rendering import PageRenderer, Refusal, describe_app, redirect
from openengagement.registry.app_list import WAITING
from openengagement.registry.apps import App, AppRemoved
from openengagement.registry.decisions import NotManager, Outdated
from openengagement.registry.registry import Registry

_SHOWN: Final = 50  # rows of a list on one page
_WAITING_SHOWN: Final = 10
_MONTHS_SHOWN: Final = 12
_HANDLES_SHOWN: Final = 500
_VIEW: Final = ("q", "state", "page")  # of the list of apps
_FIRST_MONTH: Final = "2000-01"  # the first one that `parse_month` accepts
_STATUSES: Final[Mapping[type, int]] = {InvalidNumber: 400, Outdated: 409}
_NO_APP: Final = Refusal(
    404,
    gettext_noop("There is no such app"),
    gettext_noop("No app has this App ID. Check the App ID."),
)
_NO_MONTH: Final = Refusal(
    400,
    gettext_noop("This is not a month"),
    gettext_noop("Write the month in the address as in month=2026-11."),
)
_NO_DECISION: Final = Refusal(
    400,
    gettext_noop("This form is not valid"),
    gettext_noop("Open the app's page, reload it and try again."),
)


class Console:
    """Handlers of `/manage`. Every request looks up the person's role again."""

    def __init__(
        self,
        renderer: PageRenderer,
        registry: Registry,
        *,
        default_limit: int,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._registry = registry
        self._default_limit = default_limit
        self._now_s = now_s

    @property
    def _month(self) -> str:
        return month_of(self._now_s())

    # Apps

    def overview(
        self, request: PageRequest, *, app_id: int = 0, error: InvalidNumber | None = None
    ) -> Response:
        """`GET /manage`: the apps that wait for a decision, and all apps.

        Also the answer to a form of the queue, that of the app `app_id`, which has an `error`.
        """
        app_list, usage, month = self._registry.app_list, self._registry.usage, self._month
        search = read_search(request.query)
        counts = app_list.count_apps(search.text)
        total = counts[search.state] if search.state else sum(counts.values())
        page = _page(request, total)
        apps = app_list.list_apps(search, month=month, limit=_SHOWN, skip=(page - 1) * _SHOWN)
        waiting = app_list.list_apps(WAITING, month=month, limit=_WAITING_SHOWN)
        context = {
            "title": _("Apps"),
            "scripts": ("page.js",),
            "notice": self._describe_done(request, read_id(request.query.get("app", ""))),
            "faults": {f"limit-{app_id}": text for text in describe_error(error).values()},
            "typed": {app_id: request.fields.get("per_minute", "")} if error else {},
            "waiting": waiting,
            "waiting_in_all": (app_list.count_apps() if search.text else counts)["waiting"],
            "default_limit": self._default_limit,
            "fingerprint": fingerprint,
            "apps": apps,
            "handles": usage.count_handles(month, [app.id for app in apps]),
            "counts": counts,
            "state": search.state or "",
            "view": with_query("", request.kept(*_VIEW)),
            "q": search.text,
            "page": page,
            "pages": -(-total // _SHOWN),
            "month": format_month(month),
        }
        status = 400 if error else 200
        return self._renderer.render(request, "manage", context=context, status=status)

    def _describe_done(self, request: PageRequest, app_id: int) -> dict[str, str] | None:
        """Describe the decision on an app that the URL says was just made."""
        decision = DECISIONS.get(request.query.get("done", ""))
        app = self._registry.apps.read_app(app_id) if decision else None
        if decision is None or app is None:
            return None
        try:
            state = self._registry.app_list.read_state(app_id)
        except AppRemoved:
            return None
        return describe_done(app, decision, state=state, default_limit=self._default_limit)

    def app(
        self, request: PageRequest, *, error: InvalidNumber | Outdated | None = None
    ) -> Response:
        """`GET /manage/apps/{app_id}`, and the answer to a form that has an `error`.

        The form keeps the text that was typed, unless somebody else changed the limits.
        """
        registry = self._registry
        app = registry.apps.read_app(read_id(request.params["app_id"]))
        if app is None:
            return self._renderer.refuse(request, _NO_APP)
        try:
            month = parse_month(request.query.get("month", self._month))
            described = self._describe_app(app)
        except ValueError:
            return self._renderer.refuse(request, _NO_MONTH)
        except AppRemoved:
            return self._renderer.refuse(request, _NO_APP)
        typed = request.fields if keeps_typed(error) else {}
        context = {
            "title": app.name,
            "scripts": ("page.js",),
            "notice": None if error else self._describe_done(request, app.id),
            "view": with_query("", request.kept("month")),
            "app": described,
            "default_limit": self._default_limit,
            "numbers": describe_limits(app, typed),
            "faults": describe_error(error),
            "entries": registry.audit.list_entries(limit=20, app_id=app.id),
            **self._describe_usage(app, month),
        }
        status = _STATUSES.get(type(error), 200)
        return self._renderer.render(request, "manage_app", context=context, status=status)

    def _describe_app(self, app: App) -> dict[str, object]:
        registry = self._registry
        owner = registry.accounts.read_account(app.owner_id)
        return describe_app(
            app,
            seen=fingerprint(app),
            owner=owner.screen_name if owner else "",
            state=registry.app_list.read_state(app.id),
            enabled=app.enabled,
            suspended=app.suspended,
            created_at_s=app.created_at_s,
            access_level=app.access_level,
        )

    def _describe_usage(self, app: App, month: str) -> dict[str, Any]:
        """Describe an app's usage in recent months, and the handles that it used in `month`."""
        usage, this_month = self._registry.usage, self._month
        used = usage.read_app_usage(app.id, months_until(this_month, _MONTHS_SHOWN))
        return {
            "format_month": format_month,
            "months": {
                each: counts
                for each, counts in used.items()
                if counts.requests or each == this_month
            },
            "handles_contracted": app.handles_contracted,
            "month": month,
            "handles": usage.list_handles(app.id, month, limit=_HANDLES_SHOWN),
            "handles_in_all": usage.count_handles(month, [app.id]).get(app.id, 0),
        }

    def decide(self, request: PageRequest) -> Response:
        """`POST /manage/apps/{app_id}`: apply a decision. It holds from the app's next request."""
        fields, decision = request.fields, request.fields.get("decision", "")
        if decision not in DECISIONS or request.session is None:
            return self._renderer.refuse(request, _NO_DECISION)
        app = self._registry.apps.read_app(read_id(request.params["app_id"]))
        if app is None:
            return self._renderer.refuse(request, _NO_APP)
        if missing := list_missing_fields(fields, decision):
            text = _(
                "The form lacks %(fields)s. Open the app's page and try again.",
                fields=current().formats.listed(missing),
            )
            return self._renderer.refuse(request, replace(_NO_DECISION, text=text))
        try:
            known = read_approved_columns(fields, app) if decision == "enable" else {}
            limits, known_limits = read_limits(fields, app)
            self._registry.decisions.change_app(
                app.id,
                {**DECISIONS[decision].columns, **limits},
                actor=actor_of(request.session),
                now_s=int(self._now_s()),
                known={**known, **known_limits},
            )
        except (InvalidNumber, Outdated) as error:
            if isinstance(error, InvalidNumber) and self._is_in_queue(app.id, fields):
                return self.overview(request, app_id=app.id, error=error)
            return self.app(request, error=error)
        except NotManager:
            request.session = request.session.without_role()
            return self._renderer.refuse(request, MANAGERS_ONLY)
        if fields.get("from") == "queue":
            done = {**request.kept(*_VIEW), "done": decision, "app": app.id}
            return redirect(f"{with_query('/manage', done)}#notice")
        done = {**request.kept("month"), "done": decision}
        return redirect(f"{with_query(f'/manage/apps/{app.id}', done)}#notice")

    def _is_in_queue(self, app_id: int, fields: Mapping[str, str]) -> bool:
        """Whether a form came from the queue, and the queue still shows it."""
        if fields.get("from") != "queue":
            return False
        waiting = self._registry.app_list.list_apps(
            WAITING, month=self._month, limit=_WAITING_SHOWN
        )
        return any(app.id == app_id for app in waiting)

    # Usage

    def usage(self, request: PageRequest) -> Response:
        """`GET /manage/usage`: the usage of every app in a month."""
        try:
            month = parse_month(request.query.get("month", self._month))
        except ValueError:
            return self._renderer.refuse(request, _NO_MONTH)
        apps = self._registry.usage.read_month(month)
        apps.sort(key=lambda each: (-each.used.requests, each.app_id))
        page = _page(request, len(apps))
        before, after = months_around(month, last=self._month)
        context = {
            "title": _("Usage in %(month)s", month=format_month(month)),
            "format_month": format_month,
            "month": month,
            "before": before if month > _FIRST_MONTH else None,
            "after": after,
            "apps": apps[(page - 1) * _SHOWN : page * _SHOWN],
            "requests": sum(each.used.requests for each in apps),
            "refused": sum(each.used.refused for each in apps),
            "over": sum(
                each.handles_contracted is not None and each.used.handles > each.handles_contracted
                for each in apps
            ),
            "page": page,
            "pages": -(-len(apps) // _SHOWN),
        }
        return self._renderer.render(request, "manage_usage", context=context)

    def usage_file(self, request: PageRequest) -> Response:
        """`GET /manage/usage.csv`: the usage of every app in a month as one file."""
        try:
            month = parse_month(request.query.get("month", self._month))
        except ValueError:
            return self._renderer.refuse(request, _NO_MONTH)
        return usage_csv(month, self._registry.usage.read_month(month))

    # Audit log

    def audit(self, request: PageRequest) -> Response:
        """`GET /manage/audit`: the changes that people made, the newest first."""
        before_id = read_id(request.query.get("before", "")) or None
        text = read_text(request.query)
        entries = self._registry.audit.list_entries(
            limit=_SHOWN + 1, before_id=before_id, text=text
        )
        context: dict[str, Any] = {
            "title": _("Audit log"),
            "scripts": ("page.js",),
            "entries": entries[:_SHOWN],
            "q": text,
            "older": entries[_SHOWN - 1].id if len(entries) > _SHOWN else None,
            "newest": before_id is None,
        }
        return self._renderer.render(request, "manage_audit", context=context)


def _page(request: PageRequest, total: int) -> int:
    """Return the number of the requested page of a list, bounded by the number of pages."""
    return max(1, min(read_id(request.query.get("page", "1")), -(-total // _SHOWN)))
