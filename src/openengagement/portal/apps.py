"""Apps and sessions: who may use a person's account, and where they are signed in."""

from datetime import UTC, datetime

from starlette.responses import Response

from openengagement.portal.desk import Desk
from openengagement.portal.rendering import redirect
from openengagement.portal.sign_in import HOME
from openengagement.portal.visits import Visit, Visits
from openengagement.registry.registry import Registry


class Apps:
    """Handlers of `/settings/*`."""

    def __init__(self, desk: Desk, visits: Visits, *, registry: Registry) -> None:
        self._desk = desk
        self._visits = visits
        self._registry = registry

    def welcome(self, _visit: Visit) -> Response:
        """`GET /`."""
        return redirect(HOME)

    def show(self, visit: Visit) -> Response:
        """`GET /settings/apps`."""
        session = visit.session
        if session is None:
            return redirect(f"/sign-in?return_to={HOME}")
        apps = [
            {
                "app_id": str(grant.app_id),
                "name": grant.name,
                "website": grant.website,
                "owner": grant.owner,
                "access": grant.access_level,
                "authorised_at": _time(grant.created_at_s),
                "suspended": grant.suspended,
                "last_used_at": _time(grant.last_used_s) if grant.last_used_s else None,
            }
            for grant in self._registry.grants.list_grants(session.account_id)
        ]
        sessions = [
            {
                "session_id": each.id,
                "current": each.id == session.id,
                "browser": each.browser,
                "signed_in_at": _time(each.created_at_s),
                "last_seen_at": _time(each.last_seen_s),
            }
            for each in self._visits.list_sessions(visit)
        ]
        context = {
            "title": "Apps and sessions",
            "scripts": ("page.js",),
            "apps": apps,
            "sessions": sessions,
            "notice": None,
        }
        return self._desk.page(visit, "apps", context=context)

    def revoke(self, visit: Visit) -> Response:
        """`POST /settings/apps/revoke`: an app loses its token, at once, on every worker."""
        app_id = visit.fields.get("app_id", "")
        if visit.session and app_id.isascii() and app_id.isdecimal() and len(app_id) < 19:  # noqa: PLR2004
            self._registry.grants.revoke_access_token(
                app_id=int(app_id), account_id=visit.session.account_id
            )
        return redirect(HOME)

    def end_session(self, visit: Visit) -> Response:
        """`POST /settings/sessions/revoke`."""
        if visit.session:
            session_id = visit.fields.get("session_id", "")
            self._registry.sessions.end(session_id, account_id=visit.session.account_id)
        return redirect(HOME)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
