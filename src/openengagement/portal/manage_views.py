"""What the manager's console shows, as its templates and its file want it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from openengagement.portal.exports import csv_file, csv_text
from openengagement.registry.apps import App
from openengagement.registry.audit import Actor, Entry
from openengagement.registry.decisions import ListedApp
from openengagement.registry.sessions import Session
from openengagement.registry.usage import AppUsage, Used


class UnfitNumber(ValueError):
    """A number of a form that cannot be taken; the text says what to write."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def parse_number(text: str, *, field: str, most: int) -> int | None:
    """A number of a form, None where it is left empty.

    Raises:
        UnfitNumber
    """
    plain = text.strip()
    if not plain:
        return None
    fit = plain.isascii() and plain.isdecimal() and len(plain) <= len(str(most))
    if not fit or not 1 <= int(plain) <= most:
        raise UnfitNumber(field, f"Write a whole number from 1 to {most:,}, or leave it empty.")
    return int(plain)


def actor_of(session: Session) -> Actor:
    """The person who is signed in, as the audit log names them."""
    return Actor(session.screen_name, session.account_id)


def show_time(seconds: int) -> datetime:
    """Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC)


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
        "made_at": show_time(app.created_at_s),
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
        "at": show_time(entry.at_s),
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
