"""Servers notify managers: real causes, `kill -9`, several nodes, and erasure."""

import sqlite3
from collections import Counter
from contextlib import closing
from copy import copy

import pytest
from cryptography.fernet import Fernet

from faults.crashing import Crashing, open_session
from openengagement.limits.opening import init_limits
from openengagement.registry.opening import init_registry
from openengagement.settings import ENV_PREFIX
from support.cli import invoke
from support.ports import HOST, free_port
from support.postgresql import PostgresqlMissing, PostgresqlServer
from support.receiver import LOOPBACK, Inbox, Receiver, mail_server, verify
from support.waiting import avoid_midnight, wait_for

pytestmark = pytest.mark.heavy
APPS = 12


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """A receiver with TLS, which servers that start later trust and may call."""
    with Receiver(tmp_path / "tls") as started:
        monkeypatch.setenv("SSL_CERT_FILE", str(started.authority))
        monkeypatch.setenv(f"{ENV_PREFIX}WEBHOOK_NETWORKS", LOOPBACK)
        yield started


@pytest.fixture
def server(crashing, receiver):
    """A server, not started yet, with a webhook for everything. Its app was enabled before."""
    crashing.settings = {"webhook_networks": LOOPBACK}
    crashing.make_app()
    with closing(sqlite3.connect(crashing.data / "registry.sqlite3")) as db, db:
        db.execute("DELETE FROM notifications")
    crashing.webhook = crashing.command("webhook", "add", receiver.url)
    return crashing


def add_app(server, name):
    return server.command("app", "add", name, "--owner", "owner")["app_id"]


def deliveries(server):
    return server.command("webhook", "deliveries")["deliveries"]


def wait_until_delivered(server):
    def is_done():
        return all(each["state"] == "delivered" for each in deliveries(server))

    wait_for(is_done, pause_s=0.2, reason=lambda: f"{deliveries(server)}: {server.log()[-3000:]}")


def test_a_waiting_app_is_told_by_webhook_and_mail(server, receiver):
    inbox = Inbox()
    with mail_server(inbox) as port:
        server.settings |= {
            "smtp_server": f"smtp://127.0.0.1:{port}",
            "mail_from": "engagement@example.com",
            "mail_to": "manager@example.com",
        }
        server.start()
        app_id = add_app(server, "Tide Charts")
        wait_for(lambda: receiver.received and inbox.mails, reason=server.log)
        wait_until_delivered(server)
    (request,), (mail,) = receiver.received, inbox.mails
    message = verify(request, server.webhook["secret"])
    assert message["type"] == "app.waiting"
    assert message["data"] == {"app_id": app_id, "name": "Tide Charts", "owner": "owner"}
    assert b"Tide Charts of @owner waits for access" in mail.content
    assert request.headers["webhook-id"].encode() in mail.content
    states = Counter((each["target"], each["state"]) for each in deliveries(server))
    assert states == {("mail", "delivered"): 1, (server.webhook["webhook_id"], "delivered"): 1}
    for secret in (server.webhook["secret"], "of-the-receiver", "manager@example.com"):
        assert secret not in server.log()


def test_a_reached_rate_limit_is_told_once(server, receiver):
    avoid_midnight()
    server.command("app", "enable", server.app["app_id"], "--per-minute", "1")
    server.start()
    asked = {
        "tweet_ids": ["1"],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": ["engagement.type"]}},
    }
    refused = [server.request("totals", asked).status_code == 429 for _ in range(6)]
    assert any(refused)
    wait_for(lambda: receiver.received, reason=server.log)
    (message,) = receiver.messages
    assert message["type"] == "limit.reached"
    assert message["data"]["app_id"] == server.app["app_id"]
    assert message["data"]["day"] <= message["timestamp"][:10]


def test_damage_that_a_check_finds_is_told(server, receiver):
    """The damaged row of the manifest, once in a day, however often it is found."""
    avoid_midnight()
    server.start()
    events = '{"tweet_id": "20", "type": "favorites", "at": "2026-11-20T10:00:00Z"}\n'
    with open_session() as session:
        assert server.send(session, "events", events).status_code == 200
    with closing(sqlite3.connect(server.data / "counters.sqlite3")) as db, db:
        db.execute("UPDATE segments SET rows = rows + 1")
    assert invoke("--data", str(server.data), "check").exit_code == 1
    wait_for(lambda: receiver.of_type("damage.found"), reason=server.log)
    (message,) = receiver.of_type("damage.found")
    assert message["data"]["file"]
    assert message["data"]["reason"]


def test_a_receiver_that_fails_gets_it_again_after_a_kill(server, receiver):
    """Every attempt has the same id and body, and a signature of its own time."""
    receiver.answer = lambda number: 503 if number < 2 else 200
    server.start()
    add_app(server, "Tide Charts")
    wait_for(lambda: deliveries(server), pause_s=0.2, reason=server.log)
    wait_for(lambda: deliveries(server)[0]["result"], pause_s=0.2, reason=server.log)
    server.kill()  # during an attempt, it would be repeated only after the lease
    server.start()
    wait_for(lambda: len(receiver.received) == 3, reason=server.log)
    wait_until_delivered(server)
    assert len(receiver.received) == 3
    assert len(set(receiver.ids)) == 1
    assert len({request.body for request in receiver.received}) == 1
    for request in receiver.received:
        verify(request, server.webhook["secret"])
    (delivery,) = deliveries(server)
    assert (delivery["attempts"], delivery["result"]) == (3, "200")


def test_a_receiver_that_is_gone_for_ever_is_given_up(server, receiver):
    receiver.answer = lambda _number: 410
    server.start()
    add_app(server, "Tide Charts")
    wait_for(lambda: server.command("status")["deliveries_failed"], pause_s=0.2, reason=server.log)
    assert "notification_failed" in server.log()
    receiver.answer = lambda _number: 200
    assert server.command("webhook", "retry", server.webhook["webhook_id"])["retried"] == 1
    wait_until_delivered(server)
    assert len(set(receiver.ids)) == 1


def test_what_happened_while_no_server_ran_is_told_later(server, receiver):
    for number in range(3):
        add_app(server, f"app {number}")
    server.start()
    wait_for(lambda: len(receiver.received) == 3, reason=server.log)


def test_a_removed_app_is_not_told_any_more(server, receiver):
    gone, kept = (add_app(server, name) for name in ("gone", "kept"))
    server.command("app", "remove", gone, "--yes")
    server.start()
    wait_for(lambda: receiver.received, reason=server.log)
    assert [each["data"]["app_id"] for each in receiver.messages] == [kept]


def add_node(first, name):
    """Another server on the databases and the folder of the first one."""
    made = copy(first)
    made._log, made.process = first.data.parent / f"{name}.log", None
    made.port = free_port()
    made.url = f"http://{HOST}:{made.port}"
    return made


def deliver_from_two(first, second, receiver):
    """Both servers have two workers. Every notification arrives once."""
    for node in (first, second):
        node.start()
    app_ids = [add_app(first, f"app {number}") for number in range(APPS)]
    wait_for(lambda: len(receiver.received) >= APPS, reason=first.log)
    wait_until_delivered(first)
    found = [each["data"]["app_id"] for each in receiver.of_type("app.waiting")]
    assert sorted(found) == sorted(app_ids)
    assert len(set(receiver.ids)) == APPS


def test_two_servers_of_a_folder_deliver_once(server, receiver):
    second = add_node(server, "second")
    try:
        deliver_from_two(server, second, receiver)
    finally:
        second.end()


def test_two_nodes_of_a_database_deliver_once(receiver, tmp_path, monkeypatch):
    try:
        database = PostgresqlServer()
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    init_registry(database.url)
    init_limits(database.url)
    settings = {"REGISTRY": database.url, "SERVER_KEYS": Fernet.generate_key().decode()}
    for name, value in settings.items():
        monkeypatch.setenv(ENV_PREFIX + name, value)
    (tmp_path / "data").mkdir()
    first = Crashing(tmp_path / "data")
    first.settings = {name.lower(): value for name, value in settings.items()}
    first.settings["webhook_networks"] = LOOPBACK
    first.command("account", "add", "owner", "--id", "1")
    first.command("webhook", "add", receiver.url)
    second = add_node(first, "second")
    try:
        deliver_from_two(first, second, receiver)
    finally:
        first.end()
        second.end()
        database.remove()
