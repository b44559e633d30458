"""The manager's console in detail: read its forms, describe its data for templates and files."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from openengagement.engagement.types import ID_MAX, parse_decimal
from openengagement.language.current import current, gettext_noop
from openengagement.language.current import gettext as _
from openengagement.portal.csv_files import csv_response
from openengagement.registry.app_list import AppState, ListedApp, Search
from openengagement.registry.apps import App
from openengagement.registry.audit import Actor
from openengagement.registry.decisions import HANDLES_MAX, PER_MINUTE_MAX, Outdated
from openengagement.registry.sessions import Session
from openengagement.registry.usage import AppUsage

LIMITS: Final[Mapping[str, int]] = {
    "per_minute": PER_MINUTE_MAX,
    "handles_contracted": HANDLES_MAX,
}
_TEXT_MAX: Final = 128  # characters of a search
_SEEN: Final = ("name", "website", "description", "access_level")
_APP_CHANGED: Final = gettext_noop(
    "This app changed after you opened the page. Check it again, then decide."
)
_LIMITS_CHANGED: Final = gettext_noop(
    "Somebody else changed these limits after you opened the page, so yours were not saved. The "
    "form shows the present limits."
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on an app: the columns that it sets, and the notice on the next page.

    The URL of that page names the decision, and anybody can write such a link. The notice therefore
    appears only if the app is in one of `states`.
    """

    columns: Mapping[str, bool]
    notice: str
    states: Collection[AppState] = tuple(AppState)


DECISIONS: Final[Mapping[str, Decision]] = {
    "enable": Decision(
        {"enabled": True},
        gettext_noop("%(app)s is enabled. Its next request is answered."),
        {AppState.ENABLED},
    ),
    "disable": Decision(
        {"enabled": False},
        gettext_noop("%(app)s is disabled. Its requests are refused from now on."),
        {AppState.DISABLED},
    ),
    "suspend": Decision(
        {"suspended": True},
        gettext_noop("%(app)s is suspended. Its keys and tokens stop working now."),
        {AppState.SUSPENDED},
    ),
    "resume": Decision(
        {"suspended": False},
        gettext_noop("%(app)s is no longer suspended. Its keys and tokens work again."),
        set(AppState) - {AppState.SUSPENDED},
    ),
    "limits": Decision(
        {},
        gettext_noop(
            "%(app)s has new limits. Requests a minute: %(per_minute)s. Contracted handles a "
            "month: %(handles)s."
        ),
    ),
}


class InvalidNumber(ValueError):
    """A form holds invalid numbers; `faults` maps their fields to what to write."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__(*faults.values())
        self.faults = faults


def fingerprint(app: App | ListedApp) -> str:
    """Return a hash of the columns that a manager approves, for the form that approves them."""
    shown = json.dumps([getattr(app, name) for name in _SEEN])
    return hashlib.sha256(shown.encode()).hexdigest()


def read_search(query: Mapping[str, str]) -> Search:
    """Read a search for apps from a URL's query: `q` and `state`."""
    state = query.get("state", "")
    return Search(
        query.get("q", "")[:_TEXT_MAX], AppState(state) if state in tuple(AppState) else None
    )


def read_text(query: Mapping[str, str]) -> str:
    """Read the text of a search, `q`, without control characters, which no name has."""
    text = query.get("q", "")[:_TEXT_MAX]
    return "".join(char for char in text if char.isprintable()).strip()


def list_missing_fields(fields: Mapping[str, str], decision: str) -> list[str]:
    """List the fields that a form lacks for this decision."""
    limits = [name for name in LIMITS if name in fields]
    if decision == "limits" and not limits:
        return list(LIMITS)
    wanted = [f"was_{name}" for name in limits] + ["seen"] * (decision == "enable")
    return [name for name in wanted if name not in fields]


def read_approved_columns(fields: Mapping[str, str], app: App) -> dict[str, str | int | None]:
    """Return the columns that an approval depends on.

    Raises:
        Outdated: they changed after the form's page was rendered.
    """
    if fields["seen"] != fingerprint(app):
        raise Outdated(_SEEN)
    return {name: getattr(app, name) for name in _SEEN}


def read_limits(fields: Mapping[str, str], app: App) -> tuple[dict[str, int | None], ...]:
    """Return the limits that a form changes: the new values, and the present ones.

    Raises:
        InvalidNumber
        Outdated: they changed after the form's page was rendered.
    """
    numbers: dict[str, int | None] = {}
    faults: dict[str, str] = {}
    for name in [name for name in LIMITS if name in fields]:
        try:
            numbers[name] = parse_number(fields[name], field=name, most=LIMITS[name])
        except InvalidNumber as error:
            faults |= error.faults
    if faults:
        raise InvalidNumber(faults)
    changed = {
        name: number
        for name, number in numbers.items()
        if _field_text(number) != fields[f"was_{name}"]
    }
    known: dict[str, int | None] = {name: getattr(app, name) for name in changed}
    differing = [name for name in known if _field_text(known[name]) != fields[f"was_{name}"]]
    if differing:
        raise Outdated(differing)
    return changed, known


def describe_limits(app: App, typed: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of the form of limits: what was typed, otherwise the present values.

    `was_*` are the values that the page first showed. They survive a second rendering, so that a
    change by somebody else in the meantime is still detected.
    """
    now = {name: _field_text(getattr(app, name)) for name in LIMITS}
    now |= {f"was_{name}": text for name, text in now.items()}
    return {name: typed.get(name, text) for name, text in now.items()}


def describe_error(error: InvalidNumber | Outdated | None) -> Mapping[str, str]:
    """Map the fields at fault to what is wrong; an empty name stands for the form."""
    if error is None:
        return {}
    if isinstance(error, InvalidNumber):
        return error.faults
    return {"": _LIMITS_CHANGED if error.columns <= LIMITS.keys() else _APP_CHANGED}


def keeps_typed(error: InvalidNumber | Outdated | None) -> bool:
    """Tell whether the form shows again what was typed; otherwise the present limits."""
    if isinstance(error, Outdated):
        return not error.columns <= LIMITS.keys()
    return error is not None


def describe_done(
    app: App, decision: Decision, *, state: AppState, default_limit: int
) -> dict[str, str] | None:
    """Describe a decision that was made; None if the app's state contradicts it."""
    if state not in decision.states:
        return None
    number = current().formats.number
    per_minute = number(app.per_minute or default_limit)
    return {
        "app": app.name,
        "text": decision.notice,
        "per_minute": per_minute if app.per_minute else _("%(n)s (the default)", n=per_minute),
        "handles": number(app.handles_contracted) if app.handles_contracted else _("none"),
    }


def _field_text(number: int | None) -> str:
    """Return the text of a number in a field of a form."""
    return "" if number is None else str(number)


def parse_number(text: str, *, field: str, most: int) -> int | None:
    """Read a number from a form; None if the field is empty.

    Raises:
        InvalidNumber
    """
    plain = text.strip()
    if not plain:
        return None
    number = parse_decimal(plain, maximum=most)
    if not number:
        text = _(
            "Write a whole number from 1 to %(most)s, or leave it empty.",
            most=current().formats.number(most),
        )
        raise InvalidNumber({field: text})
    return number


def read_id(text: str) -> int:
    """Read an id or a page number from untrusted text; 0 if it is none."""
    return parse_decimal(text, maximum=ID_MAX) or 0


def actor_of(session: Session) -> Actor:
    """Return the signed-in person as the audit log names them."""
    return Actor(session.screen_name, session.account_id)


def usage_csv(month: str, apps: Sequence[AppUsage]) -> Response:
    """Return the usage of all apps in a month as CSV, with one column per error code."""
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
    return csv_response(f"usage-{month}.csv", header, rows=rows)
