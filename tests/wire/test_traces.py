"""Traces of a real server, as a receiver of OTLP gets them."""

import json
import os
import subprocess
import sys
from unittest.mock import patch

import pytest

from support.calls import Bearer, question, sign_as_app, sign_as_user
from support.ports import free_port
from support.server import Server
from support.trace_receiver import TraceReceiver
from support.waiting import wait_for

TOTALS = "/insights/engagement/totals"
LONG = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def environment(url):
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-receiver=ours",
        "OTEL_SERVICE_NAME": "engagement-test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@pytest.fixture(scope="module")
def receiver():
    with TraceReceiver() as started:
        yield started


def serve(world, url, **settings):
    with (
        patch.dict(os.environ, environment(url)),
        Server(world, settings=settings) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def traced(world, receiver):
    yield from serve(world, receiver.url)


@pytest.fixture(scope="module")
def trusting(world, receiver):
    yield from serve(world, receiver.url, trust_traceparent="true")


@pytest.fixture
def span_of(receiver):
    def find(answer):
        request_id = answer.headers["x-request-id"]
        return wait_for(lambda: receiver.of_request(request_id), reason="traced")

    return find


def test_a_served_request(traced, receiver, span_of):
    auth = sign_as_user(traced.world.main)
    answer = traced.client.send("POST", TOTALS, body=question("111"), auth=auth)
    assert answer.status == 200
    span = span_of(answer)
    assert (span.name, span.is_server, span.is_error) == (f"POST {TOTALS}", True, False)
    assert span.facts == {
        "http.request.method": "POST",
        "http.route": TOTALS,
        "http.response.status_code": 200,
        "openengagement.request_id": answer.headers["x-request-id"],
    }
    assert span.links == []
    assert span.service["service.name"] == "engagement-test"
    assert span.service["service.version"]
    assert {headers["x-receiver"] for headers in receiver.headers} == {"ours"}
    reads = wait_for(lambda: len(found := receiver.within(span)) == 2 and found)
    assert [each.name for each in reads] == ["read_tweets", "read_totals"]
    assert {each.trace_id for each in reads} == {span.trace_id}
    assert {each.facts["openengagement.tweets"] for each in reads} == {1}
    assert all(each.facts["openengagement.store"] for each in reads)


def test_a_timed_request(traced, receiver, span_of):
    asked = {
        "tweet_ids": ["111"],
        "engagement_types": ["impressions"],
        "groupings": {"g": {"group_by": ["tweet.id", "engagement.hour"]}},
    }
    auth = sign_as_user(traced.world.main)
    answer = traced.client.send("POST", "/insights/engagement/28hr", body=asked, auth=auth)
    assert answer.status == 200
    span = span_of(answer)
    assert span.facts["http.route"] == "/insights/engagement/28hr"
    reads = wait_for(lambda: len(found := receiver.within(span)) == 2 and found)
    assert reads[1].name == "read_buckets"
    assert reads[1].facts["openengagement.hours"] >= 28


def test_a_refused_request(traced, span_of):
    answer = traced.client.send("POST", TOTALS, body=question("111"), auth=Bearer("unknown"))
    assert answer.status == 401
    span = span_of(answer)
    assert span.facts["http.response.status_code"] == 401
    assert span.facts["openengagement.error_code"] == answer.code
    assert not span.is_error


def test_a_batch(traced, receiver, span_of):
    lines = '{"tweet_id": "111", "type": "favorites", "at": "2024-05-01T10:00:00Z"}\n{"type": 1}\n'
    answer = traced.client.send(
        "POST",
        "/platform/v1/events",
        body=lines,
        headers={"Content-Type": "application/x-ndjson"},
        auth=Bearer(traced.world.platform_key),
    )
    assert answer.status == 200
    (batch,) = wait_for(lambda: receiver.within(span_of(answer)))
    facts = {name.removeprefix("openengagement."): fact for name, fact in batch.facts.items()}
    expected = {"kind": "events", "bytes": len(lines)}
    assert batch.name == "apply_batch"
    assert facts == expected | {"accepted": 1, "rejected": 1, "duplicate": False}


def test_a_refused_batch(traced, receiver, span_of):
    answer = traced.client.send(
        "POST",
        "/platform/v1/tweets",
        body="[",
        headers={"Content-Type": "application/json"},
        auth=Bearer(traced.world.platform_key),
    )
    assert answer.status == 400
    (batch,) = wait_for(lambda: receiver.within(span_of(answer)))
    assert (batch.facts["error.type"], batch.is_error) == ("MalformedBody", True)
    assert (batch.message, batch.events) == ("", 0)


@pytest.mark.parametrize("path", ["/sign-in", "/static/nothing.css", "/nothing/" + LONG])
def test_pages_and_unknown_paths_have_few_names(traced, span_of, path):
    answer = traced.client.send("GET", path)
    span = span_of(answer)
    assert span.facts["http.route"] in {"/sign-in", "/static/", "other"}


@pytest.mark.parametrize("header", [TRACEPARENT, "00-nonsense-01"])
def test_a_clients_trace_is_linked(traced, span_of, header):
    """Otherwise a stranger could choose the id of our traces, and that all of them are kept."""
    headers = {"traceparent": header}
    span = span_of(traced.client.send("GET", "/nothing", headers=headers))
    assert (span.trace_id != TRACE, span.parent_id) == (True, b"")
    assert span.links == ([(TRACE, PARENT)] if header == TRACEPARENT else [])


def test_a_trusted_trace_is_continued(trusting, span_of):
    span = span_of(trusting.client.send("GET", "/nothing", headers={"traceparent": TRACEPARENT}))
    assert (span.trace_id, span.parent_id.hex(), span.links) == (TRACE, PARENT, [])


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_probes_are_not_traced(traced, receiver, span_of, path):
    assert traced.client.send("GET", path).status == 200
    span_of(traced.client.send("GET", "/nothing"))
    assert path not in {span.facts.get("http.route") for span in receiver.spans}


def test_no_secret_is_traced(traced, receiver, span_of):
    main = traced.world.main
    typed = {"Content-Type": "application/json"}
    oauth = f'OAuth oauth_consumer_key="{LONG}", oauth_token="{LONG}"'
    for path, options in (
        (f"{TOTALS}?oauth_token={LONG}", {}),
        (f"/oauth/authorize?oauth_token={LONG}", {}),
        (f"{TOTALS}/{LONG}", {}),
        (TOTALS, {"headers": {**typed, "Authorization": oauth}}),
        (TOTALS, {"headers": {"Cookie": f"oe_session={LONG}", "User-Agent": LONG}}),
        (TOTALS, {"auth": Bearer(LONG)}),
        (TOTALS, {"auth": sign_as_app(main), "body": {"tweet_ids": [LONG]}}),
        ("/nothing", {"headers": {"traceparent": TRACEPARENT, "tracestate": f"x={LONG}"}}),
    ):
        answer = traced.client.send("POST", path, **options)
        span_of(answer)
    for secret in (LONG, *traced.world.secrets):
        assert secret.encode() not in receiver.content


@pytest.mark.heavy
def test_the_last_spans_are_sent_at_the_stop(world, receiver):
    with patch.dict(os.environ, environment(receiver.url) | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}):
        server = Server(world)
        with server:
            answer = server.client.send("GET", "/nothing")
            assert receiver.of_request(answer.headers["x-request-id"]) is None
        assert receiver.of_request(answer.headers["x-request-id"])


@pytest.mark.heavy
def test_a_receiver_that_is_down_costs_one_line(world):
    """Requests are served, and the log has only our lines."""
    for server in serve(world, f"http://127.0.0.1:{free_port()}"):
        assert server.client.send("GET", "/nothing").status == 404

        def find(server=server):
            return [line for line in server.log().splitlines() if "traces_not_sent" in line]

        (line,) = wait_for(find)
        assert json.loads(line)["level"] == "warning"
        assert all(json.loads(each) for each in server.log().splitlines() if each.startswith("{"))
        assert "Traceback" not in server.log()


UNSET = """
import sys
from openengagement.processes import worker
from openengagement.tracing import spans
spans.start_tracing({environ!r}, trusted=False)
assert not [name for name in sys.modules if name.startswith("opentelemetry")], "imported"
app, stores, handle = object(), object(), object()
assert spans.trace_requests(app, str) is app
assert spans.trace_stores(stores) is stores
assert spans.trace_batches(handle) is handle
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_without_a_receiver_nothing_is_imported_and_nothing_is_wrapped(more):
    environ = {**more, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if more else {}
    done = subprocess.run([sys.executable, "-c", UNSET.format(environ=environ)], check=False)
    assert done.returncode == 0


@pytest.mark.heavy
def test_without_the_extra_the_server_runs_untraced():
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from openengagement.tracing import spans\n"
        "environ = {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:9'}\n"
        "spans.start_tracing(environ, trusted=False)\n"
        "app = object(); assert spans.trace_requests(app, str) is app\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "openengagement[otel]" in done.stderr
