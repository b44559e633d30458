"""The ASGI application with fake handlers: the order of checks, the headers of answers."""

import asyncio
import gzip
import json

import pytest

from openengagement.api.asgi import Api, Hooks
from openengagement.api.routes import Authentication, Route, Routes
from openengagement.auth.keyring import KeyFileError
from openengagement.errors import InvalidField, RateLimited, StoreDamaged, StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.http.reply import Reply
from openengagement.settings import Settings
from support.cases import cases

SIX = {
    "x-per-minute-limit": "60", "x-per-minute-remaining": "60", "x-per-minute-reset": "120",
    "x-per-second-limit": "60", "x-per-second-remaining": "60", "x-per-second-reset": "120",
}  # fmt: skip
TOTALS, TOKEN, EVENTS = "/insights/engagement/totals", "/oauth2/token", "/platform/v1/events"
SECRET = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


class Answer:
    """An answer as a client gets it, with its body decompressed."""

    def __init__(self, start, body):
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        assert len(start["headers"]) == len(self.headers)
        assert self.headers["content-length"] == str(len(body["body"]))
        packed = self.headers.get("content-encoding") == "gzip"
        self.body = gzip.decompress(body["body"]) if packed else body["body"]


def call(
    path=TOTALS,
    method="POST",
    *,
    accept="gzip",
    peer="127.0.0.1",
    does=None,
    note_damage=None,
    render_failure=None,
    asked_for="*/*",
    **settings,
):
    """Send a request to an API whose handlers echo the body, raise `does` or return it."""

    async def handler(request, read_body):
        if isinstance(does, Exception):
            raise does
        return does or Reply(200, await read_body(1000), {"content-type": "text/plain"})

    async def delete_tweet(request, read_body, *, id):
        return Reply(200, id.encode())

    async def receive():
        return {"type": "http.request", "body": b"hello", "more_body": False}

    async def nothing():
        pass

    async def pages(scope, receive, send):
        raise does

    sent = []

    async def send(message):
        sent.append(message)

    table = [
        *(
            Route("POST", each, handler, Authentication.NONE, "")
            for each in (TOTALS, TOKEN, EVENTS)
        ),
        Route("DELETE", "/platform/v1/tweets/{id}", delete_tweet, Authentication.NONE, ""),
    ]
    routes = Routes(table, pages, page_prefixes=("/sign-in",))
    api = Api(
        routes,
        settings=Settings(**settings),
        pool=None,
        default_headers=lambda: dict(SIX),
        hooks=Hooks(nothing, nothing, note_damage, render_failure),
    )
    headers = [(b"host", b"h"), (b"accept", asked_for.encode())] + (
        [(b"accept-encoding", accept.encode())] if accept else []
    )
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "scheme": "http",
        "query_string": b"", "headers": headers, "client": (peer, 5000),
    }  # fmt: skip
    asyncio.run(api(scope, receive, send))
    return Answer(*sent)


FAULTS = {
    "served": {},
    "refused": {"does": InvalidField("x: y")},
    "broken": {"does": RuntimeError(SECRET)},
    "unknown path": {"path": "/insights/engagement/nothing"},
    "wrong method": {"method": "GET"},
    "no TLS": {"peer": "203.0.113.9"},
    "no gzip": {"accept": "", "require_gzip": True},
}


@cases("fault", FAULTS.values(), ids=FAULTS)
def test_every_data_api_answer_has_rate_limit_headers_and_a_request_id(fault):
    answer = call(**fault)
    assert answer.headers.items() >= SIX.items()
    assert len(answer.headers["x-request-id"]) == 16


@pytest.mark.parametrize("path", [TOTALS, TOKEN, EVENTS, "/sign-in"])
def test_an_unavailable_store_is_503_and_only_the_log_says_why(path, capsys):
    error = StoreUnavailable("remote", "connection refused by 10.0.0.3")
    answer = call(path, does=error)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["x-error-code"] == "store_unavailable"
    assert b"10.0.0.3" not in answer.body
    line = json.loads(capsys.readouterr().err)
    assert (line["store"], line["reason"]) == (error.store, error.reason)
    assert line["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", [TOTALS, TOKEN, EVENTS, "/sign-in"])
def test_a_secret_that_cannot_be_decrypted_is_503(path, capsys):
    answer = call(path, does=KeyFileError("no key fits"))
    assert (answer.status, answer.headers["x-error-code"]) == (503, "store_unavailable")
    assert b"key" not in answer.body
    assert json.loads(capsys.readouterr().err)["reason"] == "no key fits"


@pytest.mark.parametrize("path", [TOTALS, EVENTS, "/sign-in"])
def test_damage_is_noted_for_the_health_check(path):
    error, noted = StoreDamaged("embedded", "7.segment", reason="a bit flipped"), []
    answer = call(path, does=error, note_damage=noted.append)
    assert (answer.status, noted) == (503, [error])


@pytest.mark.parametrize("path", [TOKEN, EVENTS, "/nothing"])
def test_other_answers_have_no_rate_limit_headers(path):
    assert not call(path).headers.keys() & SIX.keys()


def test_the_rate_limit_headers_of_an_app_are_kept():
    figures = dict.fromkeys(SIX, "7")
    assert call(does=Reply(200, b"", dict(figures))).headers.items() >= figures.items()
    error = RateLimited()
    error.headers = figures
    assert call(does=error).headers.items() >= figures.items()


@cases("fault", [f for name, f in FAULTS.items() if name != "no gzip"])
@cases("path", [TOTALS, TOKEN, EVENTS])
def test_every_body_is_gzip_for_a_client_that_accepts_it_and_plain_otherwise(path, fault):
    fault = {"path": path, **fault}
    packed, plain = call(**fault), call(**fault, accept="")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.body == plain.body
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"


def test_a_client_without_gzip_gets_an_uncompressed_406_if_gzip_is_required():
    for setting in ("require_gzip", "faithful"):
        answer = call(accept="identity", **{setting: True})
        assert answer.status == 406
        assert "content-encoding" not in answer.headers
        assert "requires gzip compression" in json.loads(answer.body)["errors"][0]
        assert call(TOKEN, accept="identity", **{setting: True}).status == 200


@cases(
    ("fault", "status"),
    [
        ({}, 200),
        ({"accept": "", "require_gzip": True}, 406),
        ({"accept": "", "require_gzip": True, "peer": "203.0.113.9"}, 403),
        ({"accept": "", "require_gzip": True, "peer": "203.0.113.9", "method": "GET"}, 405),
        ({"accept": "", "require_gzip": True, "peer": "203.0.113.9", "path": "/insights/x"}, 404),
        ({"path": "/insights/x", "accept": f"gzip,{'x' * 5000}", "header_max_bytes": 4096}, 431),
    ],
)
def test_the_first_failed_check_is_reported(fault, status):
    assert call(**fault, does=None if status == 200 else InvalidField("x: y")).status == status


def test_remote_plain_http_is_refused_unless_allowed():
    assert json.loads(call(peer="203.0.113.9").body) == {"errors": ["SSL is required"]}
    assert json.loads(call(TOKEN, peer="203.0.113.9").body)["errors"][0]["code"] == 92
    assert call(peer="203.0.113.9", allow_plain_http=True).status == 200


def test_an_exception_is_an_internal_error_and_its_cause_is_only_logged(capsys):
    answer = call(does=RuntimeError(SECRET))
    assert (answer.status, answer.body) == (500, b'{"errors":["internal server error"]}')
    err = capsys.readouterr().err
    assert SECRET not in err
    assert json.loads(err)["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"does": RuntimeError(SECRET)}, 500),
        ({"peer": "203.0.113.9"}, 403),
        ({"does": InvalidField("field: <script>")}, 400),
    ],
)
def test_a_browser_gets_errors_as_a_page(asked, status):
    answer = call("/sign-in", "GET", **asked)
    page = answer.body.decode()
    assert (answer.status, page.count("<h1>")) == (status, 1)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert len(answer.headers["x-request-id"]) == 16
    assert SECRET not in page
    assert "<script" not in page


@cases(
    ("asked", "status"),
    [
        ({"does": RuntimeError(SECRET)}, 500),
        ({"does": StoreUnavailable("registry", SECRET)}, 503),
        ({"does": UnusableFile(SECRET)}, 503),
        ({"peer": "203.0.113.9"}, 403),
    ],
)
@cases("path", ["/sign-in", "/nowhere"])
def test_a_failure_is_a_page_of_the_portal(path, asked, status):
    answer = call(
        path,
        "GET",
        asked_for="text/html,*/*",
        render_failure=lambda code, request: f"<h1>{code} {request.request_id}</h1>",
        **asked,
    )
    request_id = answer.headers["x-request-id"]
    assert (answer.status, answer.body.decode()) == (status, f"<h1>{status} {request_id}</h1>")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT"])
def test_only_a_person_who_opens_an_address_gets_a_page(method):
    answer = call("/nowhere", method, asked_for="text/html")
    assert json.loads(answer.body)["errors"][0]["code"] == 34


def test_an_unknown_path_is_answered_in_the_form_of_its_api():
    assert (call("/insights/x").status, call("/insights/x").body) == (404, b"")
    assert json.loads(call("/platform/x").body)["errors"]
    assert json.loads(call("/1.1/x").body)["errors"][0]["code"] == 34
    assert call("/insights/engagement/totals/").status == 404


@cases(
    ("path", "unknown"),
    [
        *(("/nothing", True), ("//x", True), ("/", True), ("/insightsx/y", True)),
        *(("/insights/x", False), (f"{TOKEN}/x", False), ("/platform", False), (TOTALS, False)),
    ],
)
def test_an_address_that_no_call_begins_with_is_unknown(path, unknown):
    table = [Route("POST", each, None, Authentication.NONE, "") for each in (TOTALS, TOKEN, EVENTS)]
    assert Routes(table, None, page_prefixes=()).is_unknown(path) == unknown


def test_a_wrong_method_lists_the_allowed_ones():
    answer = call(method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.body == b"GET is not allowed on path /insights/engagement/totals"


def test_a_parameter_takes_the_rest_of_the_path():
    assert call("/platform/v1/tweets/20", "DELETE").body == b"20"
    assert call("/platform/v1/tweets/a/b", "DELETE").body == b"a/b"
    assert call("/platform/v1/tweets/", "DELETE").body == b""
    answer = call("/platform/v1/tweets/20", "POST")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE")
