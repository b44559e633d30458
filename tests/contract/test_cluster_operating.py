"""A real server on a cluster, as an operator sees it: probes, `status`, `doctor`, erasures."""

import json

import pytest
import requests
from cryptography.fernet import Fernet

from faults.crashing import OWNER_ID, Crashing
from openengagement.limits.opening import init_limits
from openengagement.registry.opening import init_registry
from openengagement.settings import ENV_PREFIX
from support.cli import invoke
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

ID, NAME = 7, "quill"
HERS, OTHERS = [10, 11, 12], [22, 23, 24]  # of each shard
AT = "2026-11-20T10:00:00Z"


@pytest.fixture
def server(cluster, tmp_path, monkeypatch):
    postgresql, clickhouse = cluster.urls
    init_registry(postgresql)
    init_limits(postgresql)
    keys = Fernet.generate_key().decode()
    settings = {"registry": postgresql, "store": clickhouse, "server_keys": keys}
    for name, value in settings.items():
        monkeypatch.setenv(ENV_PREFIX + name.upper(), value)
    (tmp_path / "data").mkdir()
    made = Crashing(tmp_path / "data", workers=1)
    made.settings = settings
    made.make_app()
    made.start()
    yield made
    made.end()


def test_tables_of_an_earlier_version_stay_usable_by_it(cluster, tmp_path, monkeypatch):
    """`cluster init` refuses them before it changes any other table."""
    for name, url in zip(("REGISTRY", "STORE"), cluster.urls, strict=True):
        monkeypatch.setenv(ENV_PREFIX + name, url)
    cluster.sql("UPDATE store_layout SET version = version - 1")
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' ORDER BY relname"
    before = cluster.sql(tables)
    done = invoke("--data", str(tmp_path), "cluster", "init")
    assert done.exit_code == 1
    assert "an earlier version of the server made the tables" in done.stderr
    assert cluster.sql(tables) == before


def get(server, path):
    answer = requests.get(server.url + path, timeout=PATIENCE_S)
    return answer.status_code, answer.json()


def faulty(server):
    """The parts that `/readyz` reports as not ok."""
    return {part for part, text in get(server, "/readyz")[1]["checks"].items() if text != "ok"}


def run(server, *arguments):
    done = invoke("--data", str(server.data), *arguments, "--json")
    return done.exit_code, json.loads(done.stdout)


def problems(server):
    code, found = run(server, "doctor")
    texts = [each["text"] for each in found["findings"] if each["level"] == "problem"]
    assert (code, found["healthy"]) == (int(bool(texts)), not texts)
    return texts


def seed(server):
    server.command("account", "add", NAME, "--id", str(ID))
    rows = [{"id": each, "author_id": ID, "created_at": AT} for each in HERS]
    rows += [{"id": each, "author_id": OWNER_ID, "created_at": AT} for each in OTHERS]
    send(server, "tweets", rows)
    send_events(server)


def send(server, kind, rows):
    with requests.Session() as session:
        answer = server.send(session, kind, json.dumps(rows), form="json")
    assert answer.status_code == 200, answer.text


def send_events(server):
    rows = [{"tweet_id": each, "type": "favorites", "at": AT} for each in HERS + OTHERS]
    send(server, "events", rows)


def totals(server, ids):
    groups = {"g": {"group_by": ["tweet.id", "engagement.type"]}}
    body = {"tweet_ids": [str(each) for each in ids], "engagement_types": ["favorites"]}
    return server.ask("totals", {**body, "groupings": groups})["g"]


def test_a_healthy_cluster(cluster, server):
    seed(server)
    assert get(server, "/health") == (200, {"status": "ok"})
    status, body = get(server, "/readyz")
    assert (status, body["status"], faulty(server)) == (200, "ready", set())
    assert problems(server) == []
    code, found = run(server, "status")
    assert code == 0
    assert (found["store"], found["tweets"], found["servers_running"]) == ("cluster", 6, 1)
    assert (found["commits_under_way"], found["cluster_problems"]) == (0, [])


def test_a_shard_that_is_away(cluster, server):
    """The last one too: a check must not look at the first shard alone."""
    shard = cluster.servers.nodes[-1].shard
    nodes = [node for node in cluster.servers.nodes if node.shard == shard]
    for node in nodes:
        node.kill()
    wait_for(lambda: faulty(server) == {"store"})
    status, body = get(server, "/readyz")  # Tweets of other shards are served
    assert (status, body["status"]) == (200, "degraded")
    assert get(server, "/health")[1]["reasons"] == ["some counters cannot be read"]
    assert get(server, "/livez") == (200, {"status": "ok"})
    names = [f"127.0.0.1:{node.port}" for node in nodes]
    for found in (problems(server), run(server, "status")[1]["cluster_problems"]):
        assert all(any(name in text for text in found) for name in names), found
    for node in cluster.servers.nodes:
        if node not in nodes:
            node.kill()
    wait_for(lambda: get(server, "/readyz")[0] == 503)
    assert get(server, "/health")[1]["reasons"] == ["the counters cannot be read"]
    cluster.servers.start()
    wait_for(lambda: not faulty(server))


def test_a_batch_that_waits(cluster, server):
    """It was recorded, and its server has died. Reads are answered, so it is degraded only."""
    seed(server)
    cluster.sql(
        "INSERT INTO flights (token, began_at, leased_until, views, large, blocks) "
        "VALUES (1000000, now() - interval '60 s', now() + interval '1 day', false, false, '{}')"
    )
    wait_for(lambda: faulty(server) == {"counting"})
    status, body = get(server, "/readyz")
    assert (status, body["status"]) == (200, "degraded")
    assert get(server, "/health")[1]["reasons"] == ["batches wait to be counted"]
    assert any("a commit has been under way for" in text for text in problems(server))
    cluster.sql("DELETE FROM flights")
    wait_for(lambda: not faulty(server))


def test_postgresql_is_away(cluster, server):
    cluster.postgresql.stop()
    try:
        wait_for(lambda: {"store", "registry", "limits"} <= faulty(server))
        assert get(server, "/readyz")[0] == 503
        assert get(server, "/livez")[0] == 200
        (text,) = problems(server)
        assert text.startswith("the databases cannot be used: ")
    finally:
        cluster.postgresql.start()
    wait_for(lambda: get(server, "/readyz")[0] == 200)


@pytest.mark.parametrize("how", ["command", "call"])
def test_an_account_is_erased(cluster, server, how):
    seed(server)
    assert {row[0] for row in cluster.cells()} == set(HERS + OTHERS)
    if how == "command":
        code, found = run(server, "account", "remove", NAME, "--yes")
        assert code == 0, found
    else:
        headers = {"Authorization": f"Bearer {server.platform_key}"}
        url = f"{server.url}/platform/v1/accounts/{ID}"
        answer = requests.delete(url, headers=headers, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()["tweets"]) == (200, 3)
        assert requests.delete(url, headers=headers, timeout=PATIENCE_S).status_code == 404
    assert {row[0] for row in cluster.cells()} == set(OTHERS)
    assert cluster.sql("SELECT count(*) FROM tweets WHERE author_id = %s", ID) == [(0,)]
    assert totals(server, OTHERS) == {str(each): {"favorites": "1"} for each in OTHERS}
    assert run(server, "status")[1]["unfinished_erasures"] == []


def test_an_erasure_that_a_dead_server_interrupts(cluster, server):
    """The call gets 503 and is repeated, as for any store that is away."""
    seed(server)
    node = cluster.servers.nodes[0]
    others = [each for each in cluster.servers.nodes if each.shard == node.shard]
    for each in others:
        each.kill()
    headers = {"Authorization": f"Bearer {server.platform_key}"}
    url = f"{server.url}/platform/v1/accounts/{ID}"
    answer = requests.delete(url, headers=headers, timeout=PATIENCE_S)
    assert (answer.status_code, answer.headers["x-error-code"]) == (503, "store_unavailable")
    assert any("is not finished" in text for text in problems(server))
    for each in others:
        each.start()
    wait_for(lambda: requests.delete(url, headers=headers, timeout=PATIENCE_S).status_code == 200)
    assert {row[0] for row in cluster.cells()} == set(OTHERS)
    assert run(server, "status")[1]["unfinished_erasures"] == []
