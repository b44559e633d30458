"""What the manager's console shows, as its templates and its file want it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.portal.exports import csv_file, csv_text
from openengagement.registry.app_list import AppState, ListedApp, Search
from openengagement.registry.apps import App
from openengagement.registry.audit import Actor, Entry
from openengagement.registry.decisions import HANDLES_MAX, PER_MINUTE_MAX, Outdated
from openengagement.registry.sessions import Session
from openengagement.registry.usage import AppUsage, Used

LIMITS: Final[Mapping[str, int]] = {
    "per_minute": PER_MINUTE_MAX,
    "handles_contracted": HANDLES_MAX,
}
WAITING: Final = Search(state=AppState.WAITING)
_SEEN: Final = ("name", "website", "description", "access_level")
_APP_CHANGED: Final = "This app was changed meanwhile; look at it again."
_LIMITS_CHANGED: Final = (
    "Somebody else changed these limits meanwhile, and yours were not saved. Here they are as they "
    "are now."
)


class UnfitNumber(ValueError):
    """A number of a form that cannot be taken; the text says what to write."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def seen_in(app: App | ListedApp) -> str:
    """A tag of what a manager sees of an app, for the form that approves it."""
    said = json.dumps([getattr(app, name) for name in _SEEN])
    return hashlib.sha256(said.encode()).hexdigest()


def read_search(query: Mapping[str, str]) -> Search:
    """The search of a page's query: `q` and `state`."""
    state = query.get("state", "")
    return Search(query.get("q", "")[:128], AppState(state) if state in tuple(AppState) else None)


def missing_in(fields: Mapping[str, str], decision: str) -> list[str]:
    """The fields that a form lacks for this decision."""
    limits = [name for name in LIMITS if name in fields]
    if decision == "limits" and not limits:
        return list(LIMITS)
    wanted = [f"was_{name}" for name in limits] + ["seen"] * (decision == "enable")
    return [name for name in wanted if name not in fields]


def read_seen(fields: Mapping[str, str], app: App) -> dict[str, str | int | None]:
    """The columns that an approval is bound to.

    Raises:
        Outdated: they are not what the form's page showed.
    """
    if fields["seen"] != seen_in(app):
        raise Outdated(_SEEN)
    return {name: getattr(app, name) for name in _SEEN}


def read_limits(fields: Mapping[str, str], app: App) -> tuple[dict[str, int | None], ...]:
    """The limits that a form changes, as they shall be and as they are.

    Raises:
        UnfitNumber
        Outdated: they are not what the form's page showed.
    """
    changed: dict[str, int | None] = {}
    given = {name: most for name, most in LIMITS.items() if name in fields}
    for name, most in given.items():
        number = parse_number(fields[name], field=name, most=most)
        if number_text(number) != fields[f"was_{name}"]:
            changed[name] = number
    known: dict[str, int | None] = {name: getattr(app, name) for name in changed}
    differing = [name for name in known if number_text(known[name]) != fields[f"was_{name}"]]
    if differing:
        raise Outdated(differing)
    return changed, known


def show_numbers(app: App, typed: Mapping[str, str]) -> dict[str, str]:
    """The form of limits: what was typed, else what holds.

    What its page knew (`was_..`) stays too when it is shown again, or it would hide what somebody
    else changed meanwhile.
    """
    now = {name: number_text(getattr(app, name)) for name in LIMITS}
    now |= {f"was_{name}": text for name, text in now.items()}
    return {name: typed.get(name, text) for name, text in now.items()}


def show_error(error: UnfitNumber | Outdated | None) -> dict[str, str] | None:
    """What is wrong with a form, and where: at a field, at its `limits`, or with the `app`."""
    if error is None:
        return None
    if isinstance(error, UnfitNumber):
        return {"field": error.field, "text": str(error)}
    if error.columns <= LIMITS.keys():
        return {"field": "limits", "text": _LIMITS_CHANGED}
    return {"field": "app", "text": _APP_CHANGED}


def show_done(app: App, done: str, *, state: AppState, default_limit: int) -> dict[str, str] | None:
    """What was done just now, where the app's state agrees: any link may claim any of it."""
    per_minute = f"{app.per_minute or default_limit:,} requests a minute"
    per_minute += "" if app.per_minute else " (the default)"
    handles = f"{app.handles_contracted:,}" if app.handles_contracted else "no"
    limits = f"{per_minute}, {handles} contracted handles a month"
    says = {
        "enable": (state == AppState.ENABLED, "is enabled: its next request is answered."),
        "disable": (
            state == AppState.DISABLED,
            "is disabled: its requests are refused from now on.",
        ),
        "suspend": (state == AppState.SUSPENDED, "is suspended: nothing of it works from now on."),
        "resume": (
            state != AppState.SUSPENDED,
            "is not suspended: it goes on with what it may do.",
        ),
        "limits": (True, f"has these limits now: {limits}."),
    }
    agrees, text = says.get(done, (False, ""))
    return {"app": app.name, "text": text} if agrees else None


def number_text(number: int | None) -> str:
    """A number as a form has it."""
    return "" if number is None else str(number)


def parse_number(text: str, *, field: str, most: int) -> int | None:
    """A number of a form, None where it is left empty.

    Raises:
        UnfitNumber
    """
    plain = text.strip()
    if not plain:
        return None
    number = parse_decimal(plain, maximum=most)
    if not number:
        raise UnfitNumber(field, f"Write a whole number from 1 to {most:,}, or leave it empty.")
    return number


def read_id(text: str) -> int:
    """Read an id or a page number from untrusted text; 0 if it is none."""
    return parse_decimal(text, maximum=ID_MAX) or 0


def actor_of(session: Session) -> Actor:
    """The person who is signed in, as the audit log names them."""
    return Actor(session.screen_name, session.account_id)


def show_month(month: str) -> str:
    """`2026-11` as people call it."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).strftime("%B %Y")


def show_app(app: ListedApp, handles: int = 0) -> dict[str, Any]:
    """An app of a list."""
    return {
        "app_id": str(app.id),
        "name": app.name,
        "owner": app.owner,
        "state": app.state,
        "per_minute": app.per_minute,
        "seen": seen_in(app),
        "made_at_s": app.created_at_s,
        "requests": app.requests,
        "refused": app.refused,
        "handles": handles,
        "contracted": app.handles_contracted,
    }


def show_used(used: Used, app: App | AppUsage) -> dict[str, Any]:
    """What an app used in a month; the commonest reason of a refusal comes first."""
    return {
        "requests": used.requests,
        "refused": used.refused,
        "errors": sorted(used.errors.items(), key=lambda each: (-each[1], each[0])),
        "handles": used.handles,
        "contracted": app.handles_contracted,
    }


def show_entry(entry: Entry) -> dict[str, Any]:
    """A line of the audit log."""
    return {
        "at_s": entry.at_s,
        "actor": entry.actor,
        "is_account": entry.actor_id is not None,
        "action": entry.action,
        "app_id": None if entry.app_id is None else str(entry.app_id),
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }


def usage_file(month: str, apps: Sequence[AppUsage]) -> Response:
    """A month of all apps as CSV, with a column for each reason that a request was refused for."""
    reasons = sorted({reason for app in apps for reason in app.used.errors})
    header = ["month", "app_id", "name", "owner", "requests", "refused", *reasons]
    header += ["handles", "handles_contracted", "handles_over"]
    rows = [
        [
            month,
            app.app_id,
            app.name,
            app.owner,
            app.used.requests,
            app.used.refused,
            *(app.used.errors.get(reason, 0) for reason in reasons),
            app.used.handles,
            app.handles_contracted,
            None
            if app.handles_contracted is None
            else max(0, app.used.handles - app.handles_contracted),
        ]
        for app in apps
    ]
    return csv_file(f"usage-{month}.csv", csv_text(header, rows))
