"""`GET /platform/v1/usage`: what each app used in a month, under a platform key."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import msgspec

from openengagement.auth.authenticate import Authenticator
from openengagement.engagement.months import month_of, parse_month
from openengagement.errors import InvalidField
from openengagement.http.forms import MalformedParameters, parse_form
from openengagement.http.reply import JSON, Reply
from openengagement.http.request import ReadBody, Request
from openengagement.registry.usage import AppUsage, Usage


class UsageCalls:
    """The handler."""

    def __init__(
        self,
        authenticator: Authenticator,
        usage: Usage,
        *,
        now_s: Callable[[], float],
        pool: Executor,
    ) -> None:
        self._authenticator = authenticator
        self._usage = usage
        self._now_s = now_s
        self._pool = pool

    async def read(self, request: Request, _read_body: ReadBody) -> Reply:
        """`GET /platform/v1/usage?month=2026-11`: this month, when none is named."""
        self._authenticator.require_platform_key(request.message(b""))
        month = _parse_query(request.query) or month_of(self._now_s())
        loop = asyncio.get_running_loop()
        apps = await loop.run_in_executor(self._pool, self._usage.read_month, month)
        body = {"month": month, "apps": [_describe(each) for each in apps]}
        return Reply(200, msgspec.json.encode(body), {"content-type": JSON})


def _parse_query(query: str) -> str | None:
    try:
        parameters = parse_form(query)
        if [name for name, _ in parameters] not in ([], ["month"]):
            raise InvalidField("query: the only parameter is month, once, such as month=2026-11")
        return parse_month(parameters[0][1]) if parameters else None
    except MalformedParameters as error:
        raise InvalidField(f"query: {error}") from None
    except ValueError as error:
        raise InvalidField(f"month: {error}") from None


def _describe(app: AppUsage) -> dict[str, Any]:
    return {
        "app_id": str(app.app_id),
        "name": app.name,
        "owner": app.owner,
        "requests": app.used.requests,
        "errors": app.used.errors,
        "handles": app.used.handles,
        "handles_contracted": app.handles_contracted,
    }
