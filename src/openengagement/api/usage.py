"""`GET /platform/v1/usage`: the usage of every app in a month (api.md 6.7)."""

from collections.abc import Callable
from concurrent.futures import Executor

from openengagement.api import answers
from openengagement.api.authentication import RequestAuthenticator
from openengagement.engagement.months import month_of, parse_month
from openengagement.errors import InvalidField
from openengagement.http.reply import Reply, json_reply
from openengagement.http.request import ReadBody, Request
from openengagement.http.threads import run_in_pool
from openengagement.registry.platform_keys import Scope
from openengagement.registry.usage import AppUsage, Usage


class UsageCalls:
    """The handler of `/platform/v1/usage`."""

    def __init__(
        self,
        authenticator: RequestAuthenticator,
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
        """`GET /platform/v1/usage?month=2026-11`; without a month, the present one."""
        await self._authenticator.require_platform_key(request.message(b""), Scope.USAGE)
        month = _parse_month(request) or month_of(self._now_s())
        apps = await run_in_pool(self._pool, self._usage.read_month, month)
        body: answers.UsageOfMonth = {"month": month, "apps": [_describe(app) for app in apps]}
        return json_reply(body)


def _parse_month(request: Request) -> str | None:
    parameters = request.parse_query()
    if [name for name, _ in parameters] not in ([], ["month"]):
        raise InvalidField("query: the only parameter is month, once, such as month=2026-11")
    try:
        return parse_month(parameters[0][1]) if parameters else None
    except ValueError as error:
        raise InvalidField(f"month: {error}") from None


def _describe(app: AppUsage) -> answers.UsageOfApp:
    return {
        "app_id": str(app.app_id),
        "name": app.name,
        "owner": app.owner,
        "requests": app.used.requests,
        "errors": app.used.errors,
        "handles": app.used.handles,
        "handles_contracted": app.handles_contracted,
    }
