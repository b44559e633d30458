"""The `webhooks` of the OpenAPI document: what the server sends (docs/webhooks.md)."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from openengagement.registry.notifications import NotificationType


class WaitingApp(TypedDict):
    """An app that a manager has to enable."""

    app_id: str
    name: str
    owner: str


class LimitedApp(WaitingApp):
    """An app that has exceeded its rate limit on a day, `YYYY-MM-DD` in UTC."""

    day: str


class AppAtContract(WaitingApp):
    """An app and its handles of a month, `YYYY-MM` in UTC."""

    month: str
    handles: int
    handles_contracted: int


class DamagedFile(TypedDict):
    """A file by its path in the data folder."""

    file: str
    reason: str


class Nothing(TypedDict):
    """A test has no data."""


DATA_TYPES: Final = (WaitingApp, LimitedApp, AppAtContract, DamagedFile, Nothing)
_CALLS: Final[Mapping[NotificationType, tuple[str, type]]] = {
    NotificationType.APP_WAITING: ("An app waits for access.", WaitingApp),
    NotificationType.LIMIT_REACHED: ("An app has reached its rate limit.", LimitedApp),
    NotificationType.CONTRACT_NEAR: ("An app has used 80 % of its handles.", AppAtContract),
    NotificationType.CONTRACT_REACHED: ("An app has used all of its handles.", AppAtContract),
    NotificationType.DAMAGE_FOUND: ("Stored data is damaged.", DamagedFile),
    NotificationType.TEST: ("A test by `openengagement webhook test`.", Nothing),
}
_HEADERS: Final[Mapping[str, str]] = {
    "webhook-id": "The notification's id, the same in every attempt.",
    "webhook-timestamp": "When this attempt was signed, in Unix seconds.",
    "webhook-signature": "`v1,` and Base64 of HMAC-SHA256; several are separated by spaces.",
}


def build_webhooks(prefix: str) -> dict[str, Any]:
    """Build the section. `prefix` is that of references to schemas."""
    return {
        kind: {"post": _describe(kind, summary, data=f"{prefix}{data.__name__}")}
        for kind, (summary, data) in _CALLS.items()
    }


def _describe(kind: NotificationType, summary: str, *, data: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": str(kind)},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"$ref": data},
        },
    }
    return {
        "operationId": f"receive_{kind.replace('.', '_')}",
        "summary": summary,
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "The notification was received."},
            "410": {"description": "Do not send it again."},
            "default": {"description": "Send it again later."},
        },
    }
