"""Apps and sessions: who may use a person's account, and where they are signed in."""

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
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
                "authorised_at_s": grant.created_at_s,
                "suspended": grant.suspended,
                "last_used_s": grant.last_used_s,
            }
            for grant in self._registry.grants.list_grants(session.account_id)
        ]
        sessions = [
            {
                "session_id": each.id,
                "current": each.id == session.id,
                "browser": each.browser,
                "signed_in_at_s": each.created_at_s,
                "last_seen_s": each.last_seen_s,
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
        app_id = parse_decimal(visit.fields.get("app_id", ""), maximum=ID_MAX)
        if visit.session and app_id is not None:
            self._registry.grants.revoke_access_token(
                app_id=app_id, account_id=visit.session.account_id
            )
        return redirect(HOME)

    def end_session(self, visit: Visit) -> Response:
        """`POST /settings/sessions/revoke`."""
        if visit.session:
            session_id = visit.fields.get("session_id", "")
            self._registry.sessions.end_session(session_id, account_id=visit.session.account_id)
        return redirect(HOME)
