"""The developer's console: build a data API request, sign it, send it and read the answer.

The request is signed on the server with the app's own credentials, so that no secret is typed into
a page. It counts against the app's limit and in its usage like any other request.
"""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.responses import Response

from openengagement.apps.own_apps import OwnApps
from openengagement.apps.own_calls import NoAccessToken, OwnCalls
from openengagement.engagement.types import (
    ID_MAX,
    TYPE_NAMES,
    Dimension,
    Endpoint,
    parse_decimal,
    parse_time,
)
from openengagement.http.threads import run_in_pool
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.portal.api_figures import api_path, describe_call, write_body
from openengagement.portal.developer import DeveloperApps
from openengagement.portal.inner_calls import InnerAnswer, InnerCalls
from openengagement.portal.page_request import PageRequest
from openengagement.portal.remedies import explain
from openengagement.portal.rendering import NO_FAULTS, PageRenderer, describe_app
from openengagement.registry.apps import App
from openengagement_client.signature import base_url

_SHOWN_CHARS: Final = 16_000  # of an answer
_DEFAULT_TYPES: Final = ("impressions", "engagements", "favorites")
_LEVELS: Final = tuple(f"group_{number}" for number in range(1, len(Dimension) + 1))
_ENDPOINTS: Final[Mapping[str, str]] = {
    Endpoint.TOTALS: gettext_noop("Totals since posting"),
    Endpoint.LAST_28_HOURS: gettext_noop("Last 28 hours"),
    Endpoint.HISTORICAL: gettext_noop("Up to 4 weeks"),
}
_NO_TOKEN: Final = gettext_noop(
    "You have no access token for this app. Generate one under Keys and tokens, or send the "
    "request as the app alone."
)
_TIME: Final = gettext_noop(
    "Write a day such as 2026-11-01, or a time such as 2026-11-01T13:00:00Z."
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request of the console. `authorization` is its complete header."""

    path: str
    body: str
    authorization: str


class ApiConsole:
    """Handlers of `/portal/apps/{app_id}/console`."""

    def __init__(
        self,
        renderer: PageRenderer,
        developer: DeveloperApps,
        *,
        own_calls: OwnCalls,
        inner_calls: InnerCalls,
        pool: Executor,
    ) -> None:
        self._renderer = renderer
        self._developer = developer
        self._own_calls = own_calls
        self._inner_calls = inner_calls
        self._pool = pool

    def show(self, request: PageRequest, app: App) -> Response:
        """`GET /portal/apps/{app_id}/console`."""
        tweet_id = self._developer.newest_tweet(app.owner_id) or ""
        fields = {
            "endpoint": Endpoint.TOTALS.value,
            "sign_as": "owner" if self._apps.read_token(app) else "app",
            "tweet_ids": str(tweet_id),
            "group_1": Dimension.TWEET.value,
            "group_2": Dimension.TYPE.value,
            **{f"type_{name}": "on" for name in _DEFAULT_TYPES},
        }
        return self._render(request, app, fields=fields)

    @property
    def _apps(self) -> OwnApps:
        return self._developer.apps

    async def send(self, request: PageRequest) -> Response:
        """`POST /portal/apps/{app_id}/console`: send the request, and show the answer."""
        prepare = self._developer.for_own_app(self._prepare)
        call = await run_in_pool(self._pool, prepare, request)
        if isinstance(call, Response):
            return call
        answer = await self._inner_calls.post(
            request,
            call.path,
            headers={
                "accept-encoding": "gzip",
                "authorization": call.authorization,
                "content-type": "application/json",
            },
            body=call.body.encode(),
        )
        show = self._developer.for_own_app(
            lambda asked, app: self._render(
                asked,
                app,
                fields=asked.fields,
                exchange=_describe_exchange(asked, call, answer=answer),
            )
        )
        return await run_in_pool(self._pool, show, request)

    def _prepare(self, request: PageRequest, app: App) -> Call | Response:
        fields = request.fields
        if faults := find_faults(fields):
            return self._render(request, app, fields=fields, faults=faults)
        path = api_path(read_endpoint(fields))
        url = base_url(request.scheme, request.host, path=path)
        try:
            authorization = self._own_calls.authorize(
                app, url, as_owner=fields.get("sign_as") != "app"
            )
        except NoAccessToken:
            return self._render(request, app, fields=fields, faults={"sign_as": _(_NO_TOKEN)})
        return Call(path, build_body(fields), authorization)

    def _render(
        self,
        request: PageRequest,
        app: App,
        *,
        fields: Mapping[str, str],
        faults: Mapping[str, str] = NO_FAULTS,
        exchange: Mapping[str, Any] | None = None,
    ) -> Response:
        context = {
            "title": _("Console of %(app)s", app=app.name),
            "scripts": ("page.js",),
            "app": describe_app(app, state=self._apps.read_state(app)),
            "has_token": self._apps.read_token(app) is not None,
            "fields": defaultdict(str, fields),
            "faults": faults,
            "exchange": exchange,
            "endpoints": _ENDPOINTS,
            "type_names": TYPE_NAMES,
            "levels": _LEVELS,
            "dimensions": [each.value for each in Dimension],
        }
        status = 400 if faults else 200
        return self._renderer.render(request, "developer_console", context=context, status=status)


def read_endpoint(fields: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that a form names; totals for any other text."""
    try:
        return Endpoint(fields.get("endpoint", ""))
    except ValueError:
        return Endpoint.TOTALS


def find_faults(fields: Mapping[str, str]) -> dict[str, str]:
    """Map the fields of the console's form to what to write instead of what they hold.

    A body that the developer wrote is not checked: the API's refusal is what they want to see.
    """
    if fields.get("body", "").strip():
        return {}
    faults = {}
    ids = _read_ids(fields)
    if not ids or not all(parse_decimal(each, maximum=ID_MAX) for each in ids):
        faults["tweet_ids"] = _(
            "Write one or several Tweet IDs: whole numbers, with spaces between."
        )
    if not any(f"type_{name}" in fields for name in TYPE_NAMES):
        faults["types"] = _("Choose at least one engagement type.")
    if read_endpoint(fields) is Endpoint.HISTORICAL:
        faults |= {
            name: _(_TIME) for name in ("start", "end") if not _is_time(fields.get(name, ""))
        }
    return faults


def _read_ids(fields: Mapping[str, str]) -> list[str]:
    return fields.get("tweet_ids", "").replace(",", " ").split()


def _is_time(text: str) -> bool:
    """Tell whether a field holds a time as the API reads it, or nothing."""
    try:
        return not text.strip() or parse_time(text.strip()) is not None
    except ValueError:
        return False


def build_body(fields: Mapping[str, str]) -> str:
    """Build the body of a request from the console's form.

    A body that the developer wrote is sent as it is, so that they see how the API refuses it.
    """
    if written := fields.get("body", "").strip():
        return written
    dimensions = [fields[level] for level in _LEVELS if fields.get(level)]
    request: dict[str, Any] = {
        "tweet_ids": _read_ids(fields),
        "engagement_types": [name for name in TYPE_NAMES if f"type_{name}" in fields],
        "groupings": {"result": {"group_by": dimensions}},
    }
    if read_endpoint(fields) is Endpoint.HISTORICAL:
        times = {name: fields.get(name, "").strip() for name in ("start", "end")}
        request |= {name: text for name, text in times.items() if text}
    return write_body(request)


def _describe_exchange(request: PageRequest, call: Call, *, answer: InnerAnswer) -> dict[str, Any]:
    code = answer.header("x-error-code")
    return {
        **describe_call(call.path, call.body, origin=request.origin),
        **describe_answer(answer),
        "remedy": explain(code) if code else None,
    }


def describe_answer(answer: InnerAnswer) -> dict[str, Any]:
    """Describe an answer for the templates: status, headers, and as much of its body as fits."""
    text = _format(answer)
    return {
        "status": answer.status,
        "code": answer.header("x-error-code"),
        "headers": sorted(answer.headers),
        "answer": text[:_SHOWN_CHARS],
        "is_cut": answer.is_cut or len(text) > _SHOWN_CHARS,
        "duration_ms": round(answer.duration_ms, 1),
    }


def _format(answer: InnerAnswer) -> str:
    """Format JSON with line breaks. A body that was cut, or is no JSON, stays as it is."""
    try:
        return msgspec.json.format(answer.body, indent=2).decode()
    except msgspec.DecodeError:
        return answer.body.decode(errors="replace")
