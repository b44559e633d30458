"""The manager's console: which apps may use the API and how much, what they used, who decided."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.responses import Response

from openengagement.engagement.months import month_of, months_around, months_until, parse_month
from openengagement.portal.desk import Desk, Refusal
from openengagement.portal.manage_views import (
    WAITING,
    UnfitNumber,
    actor_of,
    missing_in,
    read_id,
    read_limits,
    read_search,
    read_seen,
    seen_in,
    show_app,
    show_done,
    show_entry,
    show_error,
    show_month,
    show_numbers,
    show_used,
    usage_file,
)
from openengagement.portal.rendering import redirect
from openengagement.portal.sign_in import to_sign_in
from openengagement.portal.visits import Visit
from openengagement.registry.decisions import NotManager, Outdated
from openengagement.registry.registry import Registry

Handler = Callable[[Visit], Response]
_SHOWN: Final = 50  # of a list, on one page
_WAITING_SHOWN: Final = 10
_MONTHS_SHOWN: Final = 12
_HANDLES_SHOWN: Final = 500
_FIRST: Final = "2000-01"  # the first month that `parse_month` takes
_DECISIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "enable": {"enabled": True},
    "disable": {"enabled": False},
    "suspend": {"suspended": True},
    "resume": {"suspended": False},
    "limits": {},
}
_MEMBERS: Final = Refusal(
    403,
    "This is for the platform's managers",
    "Your account is a member's. If you look after the platform's apps, ask the people who run "
    "this server to make it a manager's.",
)
_NO_APP: Final = Refusal(404, "There is no such app", "No app has this App ID. Please check it.")
_NO_MONTH: Final = Refusal(
    400, "This is not a month", "Write a month as 2026-11 at the end of the address."
)
_NO_DECISION: Final = Refusal(
    400, "This cannot be done", "The form asked for something else than its page offers."
)


class Console:
    """Handlers of `/manage`. Who may be here is asked of the session at every request."""

    def __init__(
        self,
        desk: Desk,
        registry: Registry,
        *,
        default_limit: int,
        now_s: Callable[[], float],
    ) -> None:
        self._desk = desk
        self._registry = registry
        self._default_limit = default_limit
        self._now_s = now_s

    def for_managers(self, handler: Handler) -> Handler:
        """This handler for managers; others are sent to sign in, or told whom it is for."""

        def guarded(visit: Visit) -> Response:
            if visit.session is None:
                return to_sign_in(visit)
            if not visit.session.is_manager:
                return self._desk.refuse(visit, _MEMBERS)
            return handler(visit)

        return guarded

    @property
    def _month(self) -> str:
        return month_of(self._now_s())

    # Apps

    def overview(self, visit: Visit) -> Response:
        """`GET /manage`: the apps that wait, and all of them."""
        app_list, usage, month = self._registry.app_list, self._registry.usage, self._month
        search = read_search(visit.query)
        counts = app_list.count_apps(search.text)
        total = counts[search.state] if search.state else sum(counts.values())
        page = _page(visit, total)
        apps = app_list.list_apps(search, month=month, limit=_SHOWN, skip=(page - 1) * _SHOWN)
        waiting = app_list.list_apps(WAITING, month=month, limit=_WAITING_SHOWN)
        handles = usage.count_handles(month, [app.id for app in apps])
        context = {
            "title": "Apps",
            "scripts": ("page.js",),
            "notice": self._done(visit, read_id(visit.query.get("app", ""))),
            "waiting": [show_app(app) for app in waiting],
            "waiting_in_all": (app_list.count_apps() if search.text else counts)["waiting"],
            "default_limit": self._default_limit,
            "apps": [show_app(app, handles.get(app.id, 0)) for app in apps],
            "counts": counts,
            "state": search.state or "",
            "q": search.text,
            "page": page,
            "pages": -(-total // _SHOWN),
            "month": show_month(month),
        }
        return self._desk.page(visit, "manage", context=context)

    def _done(self, visit: Visit, app_id: int) -> dict[str, str] | None:
        """What was done just now, and to which app."""
        done = visit.query.get("done", "")
        app = self._registry.apps.read_app(app_id) if done in _DECISIONS else None
        if app is None:
            return None
        state = self._registry.app_list.read_state(app_id)
        return show_done(app, done, state=state, default_limit=self._default_limit)

    def app(self, visit: Visit) -> Response:
        """`GET /manage/apps/{app_id}`."""
        return self._app_page(visit)

    def _app_page(
        self, visit: Visit, *, error: UnfitNumber | Outdated | None = None, status: int = 200
    ) -> Response:
        """Everything about an app; with an unfit number, the form holds what was typed."""
        registry, this_month = self._registry, self._month
        app = registry.apps.read_app(read_id(visit.params["app_id"]))
        if app is None:
            return self._desk.refuse(visit, _NO_APP)
        try:
            month = parse_month(visit.query.get("month", this_month))
        except ValueError:
            return self._desk.refuse(visit, _NO_MONTH)
        owner = registry.accounts.read_account(app.owner_id)
        used = registry.usage.read_app(app.id, months_until(this_month, _MONTHS_SHOWN))
        typed = visit.fields if isinstance(error, UnfitNumber) else {}
        context = {
            "title": app.name,
            "scripts": ("page.js",),
            "notice": None if error else self._done(visit, app.id),
            "app": {
                "app_id": str(app.id),
                "seen": seen_in(app),
                "name": app.name,
                "owner": owner.screen_name if owner else "",
                "website": app.website,
                "description": app.description,
                "state": registry.app_list.read_state(app.id),
                "enabled": app.enabled,
                "suspended": app.suspended,
                "made_at_s": app.created_at_s,
            },
            "default_limit": self._default_limit,
            "numbers": show_numbers(app, typed),
            "error": show_error(error),
            "months": [
                {"month": each, "name": show_month(each), **show_used(used[each], app)}
                for each in used
                if used[each].requests or each == this_month
            ],
            "month": {"month": month, "name": show_month(month)},
            "handles": registry.usage.list_handles(app.id, month, limit=_HANDLES_SHOWN),
            "handles_in_all": registry.usage.count_handles(month, [app.id]).get(app.id, 0),
            "entries": [
                show_entry(each) for each in registry.audit.list_entries(limit=20, app_id=app.id)
            ],
        }
        return self._desk.page(visit, "manage_app", context=context, status=status)

    def decide(self, visit: Visit) -> Response:
        """`POST /manage/apps/{app_id}`: a decision on an app; it holds for its next request."""
        fields, decision = visit.fields, visit.fields.get("decision", "")
        if decision not in _DECISIONS or visit.session is None:
            return self._desk.refuse(visit, _NO_DECISION)
        app = self._registry.apps.read_app(read_id(visit.params["app_id"]))
        if app is None:
            return self._desk.refuse(visit, _NO_APP)
        if missing := missing_in(fields, decision):
            text = f"The form lacks {' and '.join(missing)}. Open the app's page and try again."
            return self._desk.refuse(visit, replace(_NO_DECISION, text=text))
        try:
            known = read_seen(fields, app) if decision == "enable" else {}
            limits, known_limits = read_limits(fields, app)
            self._registry.decisions.change_app(
                app.id,
                {**_DECISIONS[decision], **limits},
                actor=actor_of(visit.session),
                now_s=int(self._now_s()),
                known={**known, **known_limits},
            )
        except UnfitNumber as error:
            return self._app_page(visit, error=error, status=400)
        except Outdated as error:
            return self._app_page(visit, error=error, status=409)
        except NotManager:
            visit.session = visit.session.without_role()
            return self._desk.refuse(visit, _MEMBERS)
        if fields.get("from") == "queue":
            return redirect(f"/manage?done={decision}&app={app.id}#notice")
        return redirect(f"/manage/apps/{app.id}?done={decision}#notice")

    # Usage

    def usage(self, visit: Visit) -> Response:
        """`GET /manage/usage`: what every app used in a month."""
        try:
            month = parse_month(visit.query.get("month", self._month))
        except ValueError:
            return self._desk.refuse(visit, _NO_MONTH)
        apps = self._registry.usage.read_month(month)
        apps.sort(key=lambda each: (-each.used.requests, each.app_id))
        page = _page(visit, len(apps))
        before, after = months_around(month, last=self._month)
        shown = [
            {
                "app_id": str(each.app_id),
                "name": each.name,
                "owner": each.owner,
                **show_used(each.used, each),
            }
            for each in apps[(page - 1) * _SHOWN : page * _SHOWN]
        ]
        context = {
            "title": f"Usage in {show_month(month)}",
            "month": {"month": month, "name": show_month(month)},
            "before": {"month": before, "name": show_month(before)} if month > _FIRST else None,
            "after": {"month": after, "name": show_month(after)} if after else None,
            "apps": shown,
            "requests": sum(each.used.requests for each in apps),
            "refused": sum(each.used.refused for each in apps),
            "over": sum(
                each.handles_contracted is not None and each.used.handles > each.handles_contracted
                for each in apps
            ),
            "page": page,
            "pages": -(-len(apps) // _SHOWN),
        }
        return self._desk.page(visit, "manage_usage", context=context)

    def usage_file(self, visit: Visit) -> Response:
        """`GET /manage/usage.csv`: the same as a file, whole."""
        try:
            month = parse_month(visit.query.get("month", self._month))
        except ValueError:
            return self._desk.refuse(visit, _NO_MONTH)
        return usage_file(month, self._registry.usage.read_month(month))

    # Audit log

    def audit(self, visit: Visit) -> Response:
        """`GET /manage/audit`: who changed what, the newest first."""
        before_id = read_id(visit.query.get("before", "")) or None
        entries = self._registry.audit.list_entries(limit=_SHOWN + 1, before_id=before_id)
        context: dict[str, Any] = {
            "title": "Audit log",
            "scripts": ("page.js",),
            "entries": [show_entry(each) for each in entries[:_SHOWN]],
            "older": entries[_SHOWN - 1].id if len(entries) > _SHOWN else None,
            "newest": before_id is None,
        }
        return self._desk.page(visit, "manage_audit", context=context)


def _page(visit: Visit, total: int) -> int:
    """Which page of a list is asked for, kept to those there are."""
    return max(1, min(read_id(visit.query.get("page", "1")), -(-total // _SHOWN)))
