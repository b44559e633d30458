"""An answer before its content encoding."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

JSON: Final = "application/json;charset=utf-8"
HTML: Final = "text/html;charset=utf-8"
NO_STORE: Final = {"cache-control": "no-store", "pragma": "no-cache"}


@dataclass(slots=True)
class Reply:
    """An answer before its content encoding: status, body, headers (lower-case names)."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(body: Any, headers: dict[str, str] | None = None) -> Reply:  # noqa: ANN401
    """Encode a body as JSON and answer 200."""
    return Reply(200, msgspec.json.encode(body), {"content-type": JSON, **(headers or {})})
