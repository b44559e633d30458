"""`openengagement webhook`: register, list, show, rotate, test, remove, and see deliveries."""

import pytest

from openengagement.clock import SystemClock
from openengagement.registry.deliveries import DeliveryState
from openengagement.registry.opening import open_registry
from support.receiver import LOOPBACK, Inbox, Receiver, mail_server, verify

URL = "https://hooks.example.com/engagement"
SETTING = "OPENENGAGEMENT_WEBHOOK_NETWORKS"


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setenv(SETTING, LOOPBACK)
    with Receiver() as started:
        yield started


@pytest.fixture
def failed(data, run, owned_app):
    """The id of a webhook with a delivery that failed. No server runs."""
    webhook_id = run("webhook", "add", URL, "--json").json()["webhook_id"]
    registry = open_registry(data)
    now_s = int(SystemClock().now_s())
    registry.deliveries.queue(by_mail=False, now_s=now_s)
    (taken,) = registry.deliveries.claim(limit=9, now_s=now_s)
    registry.deliveries.finish(taken, DeliveryState.FAILED, result="410", next_at_s=now_s)
    registry.close()
    return webhook_id


def test_add_list_show_and_remove(run):
    added = run("webhook", "add", URL, "--event", "damage.found", "--json").json()
    assert added["secret"].startswith("whsec_")
    webhook_id = added["webhook_id"]
    shown = run("webhook", "show", webhook_id, "--json").json()
    created = shown.pop("created_at")
    assert created.endswith("Z")
    assert shown == {"webhook_id": webhook_id, "events": ["damage.found"], "url": URL}
    other = run("webhook", "add", URL, "--json").json()["webhook_id"]
    listed = run("webhook", "list", "--json").json()["webhooks"]
    assert listed == sorted(listed, key=lambda each: (each["created_at"], each["webhook_id"]))
    assert {each["webhook_id"] for each in listed} == {webhook_id, other}
    by_id = {each["webhook_id"]: each["events"] for each in listed}
    assert len(by_id[other]) == 5
    assert added["secret"] not in run("webhook", "list").out
    removed = run("webhook", "remove", webhook_id, "--yes", "--json").json()
    assert removed == {"webhook_id": webhook_id, "removed": True}
    assert webhook_id not in run("webhook", "list").out
    assert run("status", "--json").json()["webhooks"] == 1


def test_the_secret_is_shown_once_and_stored_encrypted(run, data):
    added = run("webhook", "add", URL)
    secret = next(line.split()[1] for line in added.out.splitlines() if "secret" in line)
    assert "cannot be shown again" in added.err
    for path in data.glob("registry.sqlite3*"):
        assert secret.removeprefix("whsec_").encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://hooks.example.com/", "write an https URL"),
        ("http://localhost/", None),
        ("https://10.0.0.1/", "not a public address"),
        ("https://[::1]:8080/", SETTING),
        ("https://user:secret@hooks.example.com/", "without a user"),
    ],
)
def test_unfit_urls_are_refused(run, owned_app, url, reason):
    done = run("webhook", "add", url)
    if reason is not None:
        assert (done.code, done.out) == (1, "")
        assert reason in done.err
        assert run("webhook", "list", "--json").json() == {"webhooks": []}


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "wh_x"),
        ("remove", "wh_x", "--yes"),
        ("rotate", "wh_x"),
        ("test", "wh_x"),
        ("retry", "wh_x"),
    ],
)
def test_an_unknown_webhook(run, owned_app, arguments):
    done = run("webhook", *arguments)
    assert done.code == 1
    assert "there is no webhook wh_x" in done.err


def test_the_type_of_tests_cannot_be_chosen(run):
    done = run("webhook", "add", URL, "--event", "webhook.test")
    assert done.code == 1
    assert "webhook test" in done.err


def test_removing_needs_a_confirmation(run):
    webhook_id = run("webhook", "add", URL, "--json").json()["webhook_id"]
    done = run("webhook", "remove", webhook_id)
    assert done.code == 1
    assert "--yes" in done.err
    assert len(run("webhook", "list", "--json").json()["webhooks"]) == 1


def test_a_test_arrives_at_once(run, receiver):
    added = run("webhook", "add", receiver.url, "--json").json()
    done = run("webhook", "test", added["webhook_id"], "--json").json()
    assert done == {"target": added["webhook_id"], "delivered": True, "result": "204"}
    (request,) = receiver.received
    assert verify(request, added["secret"])["type"] == "webhook.test"
    assert request.headers["user-agent"].startswith("openengagement/")


def test_a_test_that_fails(run, receiver):
    added = run("webhook", "add", receiver.url, "--json").json()
    receiver.answer = lambda _number: 500
    done = run("webhook", "test", added["webhook_id"])
    assert done.code == 1
    assert "500" in done.out


def test_a_setting_that_was_taken_back_is_obeyed(run, receiver, monkeypatch):
    added = run("webhook", "add", receiver.url, "--json").json()
    monkeypatch.delenv(SETTING)
    done = run("webhook", "test", added["webhook_id"])
    assert done.code == 1
    assert "address refused" in done.out
    assert receiver.received == []


def test_a_rotation_keeps_the_old_secret_for_a_while(run, receiver):
    added = run("webhook", "add", receiver.url, "--json").json()
    webhook_id, old = added["webhook_id"], added["secret"]
    new = run("webhook", "rotate", webhook_id, "--json").json()["secret"]
    assert run("webhook", "test", webhook_id).code == 0
    for secret in (old, new):
        assert verify(receiver.received[-1], secret)
    newest = run("webhook", "rotate", webhook_id, "--old-hours", "0", "--json").json()["secret"]
    assert run("webhook", "test", webhook_id).code == 0
    assert verify(receiver.received[-1], newest)
    assert len(receiver.received[-1].headers["webhook-signature"].split()) == 1


def test_secrets_survive_a_rotation_of_the_servers_key(run, receiver):
    added = run("webhook", "add", receiver.url, "--json").json()
    assert run("key", "rotate", "--json").code == 0
    assert run("webhook", "test", added["webhook_id"]).code == 0
    assert verify(receiver.received[-1], added["secret"])


def test_a_test_by_mail(run, monkeypatch):
    done = run("webhook", "test", "mail")
    assert done.code == 1
    assert "mail is not set" in done.out
    inbox = Inbox()
    with mail_server(inbox) as port:
        monkeypatch.setenv("OPENENGAGEMENT_SMTP_SERVER", f"smtp://127.0.0.1:{port}")
        monkeypatch.setenv("OPENENGAGEMENT_MAIL_FROM", "engagement@example.com")
        monkeypatch.setenv("OPENENGAGEMENT_MAIL_TO", "manager@example.com")
        assert run("webhook", "test", "mail").code == 0
    assert inbox.mails[0].receivers == ["manager@example.com"]


def test_deliveries_are_listed(run, failed, owned_app):
    (listed,) = run("webhook", "deliveries", "--json").json()["deliveries"]
    assert listed["id"].startswith("msg_")
    assert (listed["type"], listed["target"], listed["state"]) == ("app.waiting", failed, "failed")
    assert (listed["attempts"], listed["result"], listed["next_attempt_at"]) == (1, "410", None)
    for search in (("--state", "waiting"), ("--target", "mail")):
        assert run("webhook", "deliveries", *search, "--json").json() == {"deliveries": []}


def test_failed_deliveries_are_retried(run, failed):
    assert run("status", "--json").json()["deliveries_failed"] == 1
    assert run("webhook", "retry", failed, "--json").json() == {"target": failed, "retried": 1}
    assert run("status", "--json").json()["deliveries_waiting"] == 1
    (listed,) = run("webhook", "deliveries", "--json").json()["deliveries"]
    assert listed["state"] == "waiting"
    assert listed["next_attempt_at"].endswith("Z")
    assert run("webhook", "retry", "mail", "--json").json()["retried"] == 0


def test_doctor_names_failed_deliveries(run, failed):
    findings = run("doctor", "--json").out
    assert "1 notification(s) could not be delivered" in findings
    assert f"webhook retry {failed}" in findings
