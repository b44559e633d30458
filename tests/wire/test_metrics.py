"""The metrics of a real server with several workers: exact, closed, and safe to reach."""

import json
import os
import re
import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from support.calls import Client, question, sign_as_user
from support.cases import cases
from support.metered import Metered
from support.metrics_table import alerts
from support.person import Person
from support.ports import HOST
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.embedded
EVENT = {"tweet_id": "111", "type": "replies", "at": "2026-11-20T10:00:00Z"}
LONG = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


@pytest.fixture(scope="module")
def metered(world):
    with Metered(world, workers=3) as server:
        yield server


def ask(client, server, **options):
    return client.ask("totals", question("111"), sign_as_user(server.world.main), **options)


def count_of(scraped):
    return scraped.sum("http_requests_total", endpoint="/insights/engagement/totals")


def wait_for_requests(server, expected):
    """Wait until the figures have this number of requests; they must never have more."""

    def reached():
        count = count_of(server.scrape())
        assert count <= expected
        return count == expected

    wait_for(reached, reason=lambda: f"{count_of(server.scrape())} of {expected}")


def test_requests_on_all_workers_add_up_during_scrapes(metered):
    before = count_of(metered.scrape())
    threads, each = 6, 40
    statuses, failures = [], []

    def send():
        client = Client(metered.url)
        for number in range(each):
            if number % 8 == 0:
                client.close()  # another connection may reach another worker
            statuses.append(ask(client, metered).status)
        client.close()

    def guarded():
        try:
            send()
        except BaseException as error:
            failures.append(error)

    senders = [threading.Thread(target=guarded) for _ in range(threads)]
    for sender in senders:
        sender.start()
    last = before
    while any(sender.is_alive() for sender in senders):
        count = count_of(metered.scrape())
        assert last <= count <= before + threads * each
        last = count
    for sender in senders:
        sender.join()
    assert not failures
    assert statuses == [200] * threads * each
    wait_for_requests(metered, before + threads * each)
    scraped = metered.scrape()
    totals = {"endpoint": "/insights/engagement/totals"}
    assert scraped.sum("http_request_duration_seconds_count", **totals) == count_of(scraped)
    largest = scraped.sum("http_request_duration_seconds_bucket", le="+Inf", **totals)
    assert largest == count_of(scraped)
    assert scraped.sum("http_request_duration_seconds_sum", **totals) > 0


REFUSALS = {
    "invalid": ("POST", "/insights/engagement/totals", {}, "user", 400, "invalid_field"),
    "anonymous": ("POST", "/oauth/request_token", None, None, 400, "unknown_authorization_type"),
    "no path": ("GET", "/nothing", None, None, 404, "not_found"),
    "method": ("DELETE", "/health", None, None, 405, "method_not_allowed"),
    "platform": ("POST", "/platform/v1/events", b"{}", None, 401, "unknown_authorization_type"),
    "one Tweet": ("DELETE", "/platform/v1/tweets/12345", None, None, 401, None),
    "page": ("GET", "/portal/apps/12345", None, None, 303, ""),
    "static": ("GET", "/static/nothing.css", None, None, 404, ""),
}
ENDPOINTS = {
    "no path": "other",
    "one Tweet": "/platform/v1/tweets/{id}",
    "page": "/portal",
    "static": "/static/",
}


@cases("name", REFUSALS)
def test_a_refusal_is_counted_under_its_code(metered, name):
    method, path, body, signer, status, code = REFUSALS[name]
    endpoint = ENDPOINTS.get(name, path)
    auth = sign_as_user(metered.world.main) if signer else None

    def count(answer_code):
        labels = {"endpoint": endpoint, "status": str(status), "code": answer_code}
        return metered.scrape().sum("http_requests_total", **labels)

    before = {
        each: count(each) for each in {code, "unknown_authorization_type"} if each is not None
    }
    answer = metered.client.send(method, path, body=body, auth=auth)
    assert answer.status == status, answer
    assert code is None or answer.code == code
    wait_for(lambda: count(answer.code) == before[answer.code] + 1)


def test_labels_are_closed_whatever_clients_send(metered):
    wait_for(lambda: metered.scrape().sum("http_requests_in_flight") == 0)
    for number in range(30):
        for path in (
            f"/{LONG}{number}",
            f"/insights/{number}",
            f"/portal/{number}/x",
            f"/%{number}",
        ):
            metered.client.send("GET", path)
        metered.client.send(f"X{number}", "/livez")
        metered.client.send("POST", f"/platform/v1/accounts/{number}", body=b"x")
        metered.client.send("DELETE", f"/platform/v1/accounts/{LONG}{number}")
    scraped = wait_for(metered.scrape)
    from openengagement.portal.routes import PREFIXES

    known = {"other", "/", *PREFIXES}
    unknown = scraped.values("http_requests_total", "endpoint") - known
    assert unknown <= {
        *("/insights/engagement/totals", "/health", "/livez", "/oauth/request_token"),
        *("/platform/v1/events", "/platform/v1/tweets/{id}", "/platform/v1/accounts/{id}"),
        *("/platform/v1/tweets", "/platform/v1/accounts", "/insights/engagement/28hr"),
    }
    assert LONG not in scraped.text
    for secret in metered.secrets:
        assert secret not in scraped.text
    for _, pairs in scraped.samples:
        for name, value in pairs:
            assert name == "version" or not re.search(r"[0-9]{5}", value), (name, value)


def batch(server, rows, **headers):
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    call, key = server.client.platform, server.world.platform_key
    return call("POST", "events", key, body=rows, headers=headers)


def test_batches(metered):
    before = metered.scrape()
    rows = [EVENT, EVENT, {**EVENT, "type": "claps"}, {**EVENT, "tweet_id": "x"}]
    assert batch(metered, rows, Idempotency_Key="metrics").status == 200
    assert batch(metered, rows, Idempotency_Key="metrics").json()["duplicate"]
    assert batch(metered, [EVENT], Idempotency_Key="metrics").status == 422
    after = metered.scrape()

    def added(name, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    events = {"kind": "events"}
    assert added("batches_total", result="applied", **events) == 1
    assert added("batches_total", result="repeat", **events) == 1
    assert added("batches_total", result="refused", **events) == 1
    assert added("batches_total", result="error", **events) == 0
    assert added("records_total", result="accepted", **events) == 2
    assert added("records_total", result="rejected", **events) == 2
    assert added("records_rejected_total", reason="unknown_type", **events) == 1
    assert added("records_rejected_total", reason="invalid_id", **events) == 1
    assert added("records_rejected_total") == 2
    assert added("batch_duration_seconds_count", **events) == 2
    assert added("batch_bytes_total", **events) > 0
    assert added("commits_total", result="committed") >= 1
    assert after.sum("batches_in_flight") == 0
    assert after.sum("oldest_batch_timestamp_seconds") == 0
    assert after.sum("last_commit_timestamp_seconds") > 1.7e9
    assert after.sum("processes", process="counting") == 1


def test_sign_ins(metered):
    before = metered.scrape()
    metered.command("account", "password", "alice", "--stdin", stdin=f"{LONG}\n")
    for password in ("wrong", LONG):
        with Person(metered.url, "alice", password) as person:
            person.sign_in()
    after = metered.scrape()
    for result in ("wrong_name_or_password", "signed_in"):
        labels = {"method": "password", "result": result}
        assert after.sum("sign_ins_total", **labels) == before.sum("sign_ins_total", **labels) + 1


def test_processes_and_stores(metered):
    def measured():  # what one worker measures, and what every worker does
        scraped = metered.scrape()
        found = (
            scraped.sum("processes", process="worker") == 3
            and scraped.values("fault", "part")
            and scraped.sum("limit_entries")
            and scraped.sum("cache_entries", cache="credentials")
        )
        return scraped if found and scraped.sum("measured_timestamp_seconds") else None

    assert ask(metered.client, metered).status == 200
    scraped = wait_for(measured, pause_s=0.5)
    assert scraped.sum("processes", process="worker") == scraped.sum("workers") == 3
    assert scraped.sum("processes", process="supervisor") == 1
    assert scraped.sum("process_starts_total", process="worker") == 3
    assert scraped.sum("process_resident_memory_bytes", process="worker") > 50e6
    assert scraped.sum("process_cpu_seconds_total", process="worker") > 0
    assert scraped.sum("process_open_fds", process="worker") > 10
    assert scraped.sum("disk_bytes") > scraped.sum("disk_free_bytes") > 0
    assert scraped.sum("data_bytes") > 10_000
    assert scraped.sum("items", item="tweets") > 0
    status = metered.command("status")
    for item in ("accounts", "apps_enabled", "apps_waiting", "access_tokens"):
        assert scraped.sum("items", item=item) == status[item]
    assert scraped.values("fault", "part") >= {"store", "registry", "disk", "damage"}
    assert scraped.sum("fault") == 0
    assert scraped.sum("build_info") == 1


def test_figures_outlive_processes(world):
    """Kill workers and the counting process. No counter decreases, and each request counts once."""
    with Metered(world, workers=2) as server:
        sent = 0
        for killed in range(1, 4):
            for _ in range(10):
                client = Client(server.url)
                assert ask(client, server).status == 200
                client.close()
                sent += 1
            wait_for_requests(server, sent)
            before = server.scrape()
            os.kill(server.workers_by_pid()[killed - 1], signal.SIGKILL)
            after = wait_for(partial(scrape_with_starts, server, 2 + killed))
            for (name, pairs), value in before.samples.items():
                if name.endswith(("_total", "_count", "_bucket", "_sum")):
                    assert after.samples[name, pairs] >= value, (name, pairs)
            assert count_of(after) == sent
            wait_for(lambda: server.scrape().sum("processes", process="worker") == 2)
            wait_for(partial(has_workers_in_log, server, 2 + killed))
        # A batch, and the death of the counting process.
        assert batch(server, [EVENT]).status == 200
        assert server.scrape().sum("commits_total", result="committed") == 1
        os.kill(counting_pid(server), signal.SIGKILL)
        wait_for(lambda: server.scrape().sum("processes", process="counting") == 0)
        assert server.scrape().sum("commits_total", result="committed") == 1
        wait_for(lambda: batch(server, [EVENT]).status == 200)
        assert server.scrape().sum("commits_total", result="committed") == 2
        assert server.scrape().sum("process_starts_total", process="counting") == 2


def test_a_part_that_fails_is_a_fault(world):
    """The workers look by themselves: nobody asks for /readyz."""
    with Metered(world, workers=2) as server:
        wait_for(partial(has_workers_in_log, server, 2))  # a worker cannot start without the key
        key = server.data / "server.key"
        good = key.read_bytes()
        key.write_bytes(b"no key\n")
        # Each worker logs the fault and its end once.
        wait_for(lambda: count_health_changes(server) == 2, pause_s=0.2)
        wait_for(lambda: server.scrape().sum("fault", part="keys") == 1, pause_s=0.2)
        assert server.scrape().sum("fault") == 1
        key.write_bytes(good)
        wait_for(lambda: count_health_changes(server) == 4, pause_s=0.2)
        wait_for(lambda: server.scrape().sum("fault") == 0, pause_s=0.2)


def count_health_changes(server):
    return sum('"health_changed"' in line for line in server.log().splitlines())


def scrape_with_starts(server, starts):
    """Scrape once so many workers were started."""
    scraped = server.scrape()
    return scraped if scraped.sum("process_starts_total", process="worker") == starts else None


def has_workers_in_log(server, count):
    return len(server.workers_by_pid()) == count


def counting_pid(server):
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return next(line["pid"] for line in lines if line["event"] == "counting_process_started")


def exchange(server, sent, *, whole=True):
    """Send bytes to the port of the metrics; return all that it answers."""
    with socket.create_connection((HOST, server.metrics_port), timeout=PATIENCE_S) as connection:
        connection.sendall(sent)
        if whole:
            connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


@cases(
    ("sent", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200"),
        (b"GET /metrics?a=b HTTP/1.0\r\n\r\n", b"200"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /insights/engagement/totals HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"", b"400"),
        (b"x" * 100_000, b"400"),
    ],
)
def test_requests_to_the_port(metered, sent, status):
    try:
        answer = exchange(metered, sent)
    except OSError:
        assert len(sent) > 16_384  # it was not read to its end
        return
    assert answer.split(b" ")[:2] == [b"HTTP/1.1", status]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


def test_slow_clients_do_not_keep_others_out(metered):
    slow = [socket.create_connection((HOST, metered.metrics_port)) for _ in range(10)]
    try:
        for connection in slow:
            connection.sendall(b"GET /metr")
        assert metered.scrape().sum("workers") == 3
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.heavy
def test_a_client_that_drips_is_closed(metered):
    """Sixteen of them would keep Prometheus out, if each byte began a new wait."""
    with socket.create_connection((HOST, metered.metrics_port)) as dripping:
        dripping.settimeout(0.2)
        answered = []

        def drip():
            with suppress(OSError):
                dripping.sendall(b"x")
            with suppress(TimeoutError):
                answered.append(receive())
            return answered

        def receive():
            try:
                return dripping.recv(1)
            except ConnectionResetError:  # it was closed before it had read the last byte
                return b""

        wait_for(drip)
        assert answered == [b""]


def test_the_port_is_closed_when_the_server_stops(world):
    with Metered(world) as server:
        assert server.scrape().sum("workers") == 1
        server.stop()
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, server.metrics_port)) != 0
        server.start()
        assert count_of(server.scrape()) == 0


# Of ClickHouse only, or nothing that a test may wait for.
RARE = {"commits_set_aside"}
# Of consumers, and of servers with `--intake log`; tests of these scrape them.
LOGS = ("openengagement_consumer_", "openengagement_log_publish")
_SELECTOR = re.compile(r"(openengagement_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "openengagement.json"


def selectors():
    """Each metric that the alerts and the dashboard select, with its matchers."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(shown) > 40
    expressions = [*shown, *(expression for _, expression, *_ in alerts())]
    return sorted({found for each in expressions for found in _SELECTOR.findall(each)})


def fits(pairs, matchers):
    labels = dict(pairs)
    return all(
        label in labels and bool(re.fullmatch(value, labels[label])) == (operator != "!=")
        for label, operator, value in _MATCHER.findall(matchers)
        if label not in {"instance", "status", "code"}
    )


def test_dashboard_and_alerts_select_what_the_server_has(metered):
    """Every selected series exists in a scrape, with its labels."""
    for _ in range(9):  # enough commits for a flush
        assert batch(metered, [EVENT]).status == 200
    assert ask(metered.client, metered).status == 200

    def missing():
        samples = metered.scrape().samples
        return [
            (name, matchers)
            for name, matchers in selectors()
            if not name.startswith(LOGS)
            and not any(rare in matchers for rare in RARE)
            and not any(
                f"openengagement_{found}" == name and fits(pairs, matchers)
                for found, pairs in samples
            )
        ]

    wait_for(lambda: not missing(), pause_s=0.5, reason=missing)
