"""The registry in PostgreSQL: restarts, refused connections, other schemas, lost notifications."""

import time
from contextlib import closing
from copy import copy
from functools import partial
from pathlib import Path

import psycopg
import pytest
import requests
from cryptography.fernet import Fernet
from requests_oauthlib import OAuth1

from faults.counting import write_tweets
from faults.crashing import Crashing, open_session
from openengagement.errors import InvalidField, StoreUnavailable
from openengagement.limits.opening import init_limits
from openengagement.registry.accounts import Account
from openengagement.registry.database import VERSION_DELAY_MAX_S
from openengagement.registry.migrate import HEAD, SchemaMismatch
from openengagement.registry.opening import init_registry, open_registry
from openengagement.settings import ENV_PREFIX
from support.cli import call_command, invoke
from support.ports import HOST, free_port
from support.postgresql import PostgresqlMissing, PostgresqlServer
from support.waiting import PATIENCE_S, wait_for, wait_in_time, within_one

NOW_S = 1_795_342_500
TOTALS = "/insights/engagement/totals"
ASKED = {
    "tweet_ids": ["1"],
    "engagement_types": ["favorites"],
    "groupings": {"all": {"group_by": ["engagement.type"]}},
}


@pytest.fixture(scope="module")
def server():
    try:
        started = PostgresqlServer()
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    yield started
    started.remove()


@pytest.fixture
def url(server):
    server.drop()
    init_registry(server.url)
    return server.url


@pytest.fixture
def registry(url):
    with closing(open_registry(Path(), url)) as opened:
        yield opened


def add_account(registry, number):
    registry.accounts.add_account(Account(number, f"name{number}", NOW_S))


def test_a_restart_is_survived(server, registry):
    add_account(registry, 1)
    before = registry.database.version()
    server.stop()
    with pytest.raises(StoreUnavailable, match="the registry store is unavailable"):
        registry.accounts.read_account(1)
    with pytest.raises(StoreUnavailable):
        add_account(registry, 2)
    time.sleep(VERSION_DELAY_MAX_S)
    with pytest.raises(StoreUnavailable):  # not the version that it knew once
        registry.database.version()
    server.start()
    assert registry.accounts.read_account(1).screen_name == "name1"
    assert registry.database.version() == before
    add_account(registry, 2)
    assert registry.database.version() == before + 1


def has_version(registry, number):
    return registry.database.version() == number


def test_a_change_by_another_process_is_known_in_time(url, registry):
    registry.database.version()
    with closing(open_registry(Path(), url)) as other:
        for number in range(1, 20):
            add_account(other, number)
            knows = partial(has_version, registry, number)
            wait_in_time(knows, limit_s=VERSION_DELAY_MAX_S)


def test_a_change_without_a_notification_is_known_in_time(server, registry):
    """Such as one of a restored database, or after a connection was lost."""
    before = registry.database.version()
    with psycopg.connect(server.url) as db:
        db.execute("UPDATE credential_version SET version = version + 7")
    wait_in_time(partial(has_version, registry, before + 7), limit_s=VERSION_DELAY_MAX_S)


def test_most_lookups_ask_for_nothing(server, registry):
    registry.database.version()
    with psycopg.connect(server.url) as db:
        asked = "SELECT sum(xact_commit) FROM pg_stat_database"
        before = db.execute(asked).fetchone()[0]
    for _ in range(10_000):
        registry.database.version()
    time.sleep(1.2)  # until the sessions report to the statistics
    with psycopg.connect(server.url) as db:
        assert db.execute(asked).fetchone()[0] - before < 100


def test_tables_of_another_version_are_refused(server, url):
    with psycopg.connect(url) as db:
        db.execute("UPDATE alembic_version SET version_num = '0004'")
    with pytest.raises(SchemaMismatch, match=r"older version.*run `openengagement cluster init`"):
        open_registry(Path(), url)
    with psycopg.connect(url) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="later version"):
        open_registry(Path(), url)
    with pytest.raises(SchemaMismatch, match="later version"):
        init_registry(url)


def test_an_empty_database_is_refused(server):
    server.drop()
    with pytest.raises(SchemaMismatch, match="has no tables: run `openengagement cluster init`"):
        open_registry(Path(), server.url)


def test_init_may_be_repeated(url, registry):
    add_account(registry, 1)
    init_registry(url)
    assert registry.accounts.read_account(1)
    with psycopg.connect(url) as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://secret:word@127.0.0.1:1/postgres",
        "postgresql://secret:word@no-such-host.invalid/postgres",
    ],
)
def test_a_server_that_cannot_be_reached(wrong):
    with pytest.raises(StoreUnavailable) as caught:
        open_registry(Path(), wrong)
    assert "word" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_that_does_not_exist(server):
    with pytest.raises(StoreUnavailable, match='database "missing" does not exist'):
        open_registry(Path(), server.url.replace("/postgres?", "/missing?"))


class Nodes:
    """Two servers on one registry and one data folder."""

    def __init__(self, first):
        self.first = first
        self.second = copy(first)
        self.second.port = free_port()
        self.second.url = f"http://{HOST}:{self.second.port}"
        self.second._log = first.data.parent / "second.log"

    def ask(self, node, *, signed):
        """Ask a server for a total. Return the status."""
        with open_session() as session:
            return session.post(node.url + TOTALS, **signed, timeout=PATIENCE_S).status_code

    def sign(self):
        keys = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
        return {"json": ASKED, "auth": OAuth1(*(self.first.app[key] for key in keys))}


@pytest.fixture
def nodes(url, tmp_path, monkeypatch):
    settings = {"REGISTRY": url, "SERVER_KEYS": Fernet.generate_key().decode()}
    for name, value in settings.items():
        monkeypatch.setenv(ENV_PREFIX + name, value)
    (tmp_path / "data").mkdir()
    init_limits(url)
    first = Crashing(tmp_path / "data", workers=1)
    first.settings = {name.lower(): value for name, value in settings.items()}
    first.make_app()
    first.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", 3)))
    made = Nodes(first)
    for node in (made.first, made.second):
        node.start()
    yield made
    for node in (made.first, made.second):
        node.end()


def test_a_text_that_postgresql_refuses(registry):
    """Clients can send NUL in a key or a name. No stored text has it, so nothing is found."""
    registry.accounts.add_account(Account(1, "a", 0))
    for text in ("a\0", "a\0b", "\0"):
        assert registry.apps.find_by_consumer_key(text) is None
        assert registry.accounts.find_account(text) is None
    with pytest.raises(InvalidField):
        registry.accounts.add_account(Account(2, "b\0", 0))
    assert registry.accounts.find_account("a").id == 1


@pytest.mark.parametrize("command", [["sandbox"], ["restore", "."]])
def test_commands_on_a_whole_folder_leave_the_database_alone(url, tmp_path, monkeypatch, command):
    monkeypatch.setenv(f"{ENV_PREFIX}REGISTRY", url)
    done = invoke("--data", str(tmp_path / "data"), *command)
    assert done.exit_code == 1
    assert f"{command[0]} works on a folder with its own registry" in done.output
    with psycopg.connect(url) as db:
        assert db.execute("SELECT count(*) FROM accounts").fetchone() == (0,)


def test_a_check_of_a_folder_without_its_registry(url, tmp_path, monkeypatch):
    monkeypatch.setenv(f"{ENV_PREFIX}REGISTRY", url)
    monkeypatch.setenv(f"{ENV_PREFIX}SERVER_KEYS", Fernet.generate_key().decode())
    data = tmp_path / "data"
    call_command(data, "account", "add", "ana")
    assert call_command(data, "check")["damaged"] == []
    assert not (data / "registry.sqlite3").exists()
    assert "cannot be copied" in invoke("--data", str(data), "backup", str(tmp_path / "b")).output


def test_two_servers_share_credentials_nonces_and_limits(nodes):
    both = (nodes.first, nodes.second)
    assert [nodes.ask(node, signed=nodes.sign()) for node in both] == [200, 200]

    prepared = requests.Request("POST", nodes.first.url + TOTALS, **nodes.sign()).prepare()
    with open_session() as session:
        assert session.send(prepared).status_code == 200
        prepared.url = nodes.second.url + TOTALS
        prepared.headers["Host"] = f"{HOST}:{nodes.first.port}"
        assert session.send(prepared).headers["x-error-code"] == "nonce_used"

    app_id = nodes.first.app["app_id"]
    nodes.first.command("app", "enable", app_id, "--per-minute", "100")
    nodes.first.command("app", "suspend", app_id)
    known_s = time.monotonic() + 2 * VERSION_DELAY_MAX_S
    for node in both:
        wait_in_time(
            lambda: nodes.ask(node, signed=nodes.sign()) == 403,  # noqa: B023
            limit_s=known_s - time.monotonic(),
        )
    nodes.first.command("app", "resume", app_id)
    wait_for(lambda: nodes.ask(nodes.second, signed=nodes.sign()) == 200)

    def use_up():
        answers = [nodes.ask(both[n % 2], signed=nodes.sign()) for n in range(110)]
        return answers.count(200)

    assert within_one(60, use_up) <= 100


def test_servers_survive_a_restart_of_the_database(server, nodes):
    server.stop()
    with open_session() as session:
        answer = session.post(nodes.first.url + TOTALS, **nodes.sign(), timeout=PATIENCE_S)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

        def read_reasons():
            health = session.get(nodes.first.url + "/health", timeout=PATIENCE_S)
            return health.status_code == 503 and health.json()["reasons"]

        # An answer is kept for a second, so the first one may be from before the stop.
        wait_for(lambda: "the registry cannot be read" in (read_reasons() or ()))
    server.start()
    for node in (nodes.first, nodes.second):
        wait_for(lambda: nodes.ask(node, signed=nodes.sign()) == 200)  # noqa: B023
