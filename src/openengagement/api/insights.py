"""The data API: `POST /insights/engagement/{totals,28hr,historical}` (api.md 1 to 3).

Small answers are made on the event loop. Passing a request to a thread and back takes as long as a
whole small answer (docs/decisions/0002), so only answers of more than `inline_cells_max` counters
go to the pool.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial

from openengagement.api.authentication import RequestAuthenticator
from openengagement.apps.usage_meter import UsageMeter
from openengagement.engagement.types import Endpoint
from openengagement.errors import ApiError, InternalError, NonceUsed, RateLimited
from openengagement.http.message import Message
from openengagement.http.reply import JSON, Reply
from openengagement.http.request import FORM_MAX_BYTES, ReadBody, Request, read_message
from openengagement.http.threads import run_in_pool
from openengagement.limits.contract import MINUTE_S, RateWindow
from openengagement.query import Plan, Query
from openengagement.settings import Settings


class Insights:
    """Handlers of the three endpoints."""

    def __init__(
        self,
        authenticator: RequestAuthenticator,
        query: Query,
        *,
        meter: UsageMeter,
        settings: Settings,
        pool: Executor,
    ) -> None:
        self._authenticator = authenticator
        self._query = query
        self._meter = meter
        self._inline_cells_max = settings.inline_cells_max
        self._body_max_bytes = settings.body_max_bytes
        self._form_max_bytes = min(settings.body_max_bytes, FORM_MAX_BYTES)
        self._pool = pool
        # Without it, threads make large answers faster than the event loop sends or refuses them.
        self._large_answers = asyncio.Semaphore(settings.threads)

    async def totals(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /insights/engagement/totals`."""
        return await self._answer(request, read_body, endpoint=Endpoint.TOTALS)

    async def last_28_hours(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /insights/engagement/28hr`."""
        return await self._answer(request, read_body, endpoint=Endpoint.LAST_28_HOURS)

    async def historical(self, request: Request, read_body: ReadBody) -> Reply:
        """`POST /insights/engagement/historical`."""
        return await self._answer(request, read_body, endpoint=Endpoint.HISTORICAL)

    async def _answer(self, request: Request, read_body: ReadBody, *, endpoint: Endpoint) -> Reply:
        """Authenticate, limit, read the body, answer and meter.

        Every outcome after authentication is metered.

        Raises:
            ApiError: with the app's rate-limit headers.
        """
        authenticator = self._authenticator
        form = None
        caller = await authenticator.authenticate_head(request.message(b""))
        if caller is None:
            form = await read_message(request, read_body, limit=self._form_max_bytes)
            caller = await authenticator.authenticate(form)
        windows: Sequence[RateWindow] = ()
        with self._meter.in_flight:
            try:
                windows = await authenticator.enforce_limits(caller)
                _refuse_exceeded(windows)
                message = form
                if message is None:
                    message = await self._read_authenticated(request, read_body)
                plan, body = await self._read(endpoint, message.body, user_id=caller.user_id)
            except NonceUsed:  # not metered: anybody can repeat a request of the app
                raise
            except ApiError as error:
                reason = error.headers.get("x-error-code", error.code)
                self._meter.count_refusal(caller.app.id, reason)
                if windows:
                    error.headers = {**rate_headers(windows), **error.headers}
                raise
            except Exception:
                self._meter.count_refusal(caller.app.id, InternalError.code)
                raise
            self._meter.count_answer(caller.app.id, plan.decision.author_ids)
        return Reply(200, body, {"content-type": JSON, **rate_headers(windows)})

    async def _read_authenticated(self, request: Request, read_body: ReadBody) -> Message:
        """Read the body of a request whose head has been authenticated."""
        limit = self._body_max_bytes
        message = await read_message(request, read_body, limit=limit, counted=True)
        if message.is_form and (b"=" in message.body or b"&" in message.body):
            # It may hold OAuth parameters that contradict those of the head.
            await self._authenticator.authenticate(message)
        return message

    async def _read(
        self, endpoint: Endpoint, body: bytes, *, user_id: int | None
    ) -> tuple[Plan, bytes]:
        """Prepare and answer. If the stores may block, both run in the pool."""
        if self._query.blocking:
            work = partial(self._query.prepare_and_answer, endpoint, body, user_id=user_id)
            async with self._large_answers:
                return await run_in_pool(self._pool, work)
        plan = self._query.prepare(endpoint, body, user_id=user_id)
        if plan.request.cells <= self._inline_cells_max:
            return plan, self._query.answer(plan)
        async with self._large_answers:
            return plan, await run_in_pool(self._pool, self._query.answer, plan)


def _refuse_exceeded(windows: Sequence[RateWindow]) -> None:
    if any(window.exceeded for window in windows):
        raise RateLimited


def default_headers(limit: int, now_s: Callable[[], float]) -> dict[str, str]:
    """Build the six headers for a request of an unknown app: the default limit, unused."""
    reset_s = (int(now_s() // MINUTE_S) + 1) * MINUTE_S
    return rate_headers([RateWindow(limit, 0, reset_s)])


def rate_headers(windows: Sequence[RateWindow]) -> dict[str, str]:
    """Build all six rate-limit headers; clients read a missing `-remaining` as zero (api.md 3.5).

    `windows` holds the window of the minute and, if the server limits seconds, that of the second.
    Otherwise the per-second headers repeat the figures of the minute.
    """
    headers = {}
    for name, window in (("minute", windows[0]), ("second", windows[-1])):
        headers[f"x-per-{name}-limit"] = str(window.limit)
        headers[f"x-per-{name}-remaining"] = str(window.remaining)
        headers[f"x-per-{name}-reset"] = str(window.reset_s)
    return headers
