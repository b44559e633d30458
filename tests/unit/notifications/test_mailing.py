"""Mail to managers, through real servers: STARTTLS, TLS from the start, and neither."""

import email
import email.policy
import json
from datetime import UTC, datetime

import pytest

from openengagement.language.languages import KNOWN, load_language
from openengagement.notifications.mailing import Mailer
from openengagement.notifications.message import Message, Result
from openengagement.registry.notifications import NotificationType
from openengagement.sandbox.certificate_authority import open_certificates
from openengagement.setting_kinds import parse_mail_server
from support.receiver import Inbox, mail_server

APP = {"app_id": "10000001", "name": "Tide é Charts", "owner": "ana"}
MESSAGE = Message("msg_1", "app.waiting", 1_795_342_500, json.dumps(APP))
DATA = {
    NotificationType.APP_WAITING: APP,
    NotificationType.LIMIT_REACHED: {**APP, "day": "2026-11-22"},
    NotificationType.CONTRACT_NEAR: {**APP, "handles": 8, "handles_contracted": 10},
    NotificationType.CONTRACT_REACHED: {**APP, "handles": 10, "handles_contracted": 10},
    NotificationType.DAMAGE_FOUND: {"file": "x.segment", "reason": "y"},
    NotificationType.TEST: {},
}


def send(url, message=MESSAGE, *, code="en"):
    receivers = ("manager@example.com", "other@example.com")
    server, language = parse_mail_server(url), load_language(code)
    mailer = Mailer(server, "engagement@example.com", receivers, "Harbour", language)
    return mailer.send(message)


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def certificates(tmp_path, monkeypatch):
    made = open_certificates(tmp_path, ["localhost"], now=datetime.now(UTC))
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    return made


def test_a_mail(inbox):
    with mail_server(inbox) as port:
        assert send(f"smtp://127.0.0.1:{port}") == Result("sent", is_delivered=True)
    (received,) = inbox.mails
    assert received.sender == "engagement@example.com"
    assert received.receivers == ["manager@example.com", "other@example.com"]
    mail = email.message_from_bytes(received.content, policy=email.policy.default)
    assert mail["subject"] == "[Harbour] The app Tide é Charts of @ana waits for access"
    assert mail["message-id"] == "<msg_1@example.com>"
    assert mail["auto-submitted"] == "auto-generated"
    assert mail["date"] == "Sun, 22 Nov 2026 10:15:00 +0000"
    assert mail.get_content_type() == "text/plain"
    text = mail.get_content().replace("\r\n", "\n")
    assert "openengagement app enable 10000001" in text
    assert "\nApp ID: 10000001\nName: Tide é Charts\nScreen name: ana\n" in text


@pytest.mark.parametrize("code", KNOWN)
@pytest.mark.parametrize("kind", NotificationType)
def test_every_type_has_a_text(inbox, kind, code):
    with mail_server(inbox) as port:
        message = Message("msg_1", kind, 0, json.dumps(DATA[kind]))
        assert send(f"smtp://127.0.0.1:{port}", message, code=code).is_delivered


def test_a_mail_in_german(inbox):
    data = {**APP, "handles": 1200, "handles_contracted": 1500}
    with mail_server(inbox) as port:
        message = Message("msg_1", "contract.near", 0, json.dumps(data))
        assert send(f"smtp://127.0.0.1:{port}", message, code="de").is_delivered
    mail = email.message_from_bytes(inbox.mails[0].content, policy=email.policy.default)
    subject = "[Harbour] Die App Tide é Charts von @ana hat 1.200 von 1.500 Handles verbraucht"
    assert mail["subject"] == subject
    text = mail.get_content()
    assert "Es wird keine Anfrage abgelehnt" in text
    assert "Benutzername: ana" in text


def test_a_name_makes_no_header(inbox):
    data = {**APP, "name": "Tide\r\nBcc: thief@example.com"}
    with mail_server(inbox) as port:
        message = Message("msg_1", "app.waiting", 0, json.dumps(data))
        assert send(f"smtp://127.0.0.1:{port}", message).is_delivered
    mail = email.message_from_bytes(inbox.mails[0].content, policy=email.policy.default)
    assert mail["bcc"] is None
    assert "Tide Bcc: thief@example.com" in mail["subject"]


@pytest.mark.parametrize("starttls", [True, False])
def test_tls_and_a_password(inbox, certificates, starttls):
    scheme = "smtp" if starttls else "smtps"
    with mail_server(inbox, certificates=certificates, starttls=starttls) as port:
        url = f"{scheme}://engagement:p%40ss@localhost:{port}"
        assert send(url) == Result("sent", is_delivered=True)
    assert inbox.users == [b"engagement"]
    assert inbox.mails[0].has_tls


def test_a_wrong_password(inbox, certificates):
    with mail_server(inbox, certificates=certificates) as port:
        assert send(f"smtp://engagement:wrong@localhost:{port}") == Result("SMTP 535")
    assert inbox.mails == []


def test_a_certificate_that_is_not_trusted(inbox, certificates, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(inbox, certificates=certificates) as port:
        assert send(f"smtp://localhost:{port}") == Result("SSLCertVerificationError")
    assert inbox.mails == []


def test_another_machine_needs_tls(inbox, monkeypatch):
    """A server that does not offer STARTTLS gets neither the password nor the mail."""
    with mail_server(inbox, auth_required=False) as port:
        monkeypatch.setattr("openengagement.setting_kinds.THIS_MACHINE", frozenset())
        found = send(f"smtp://engagement:secret@127.0.0.1:{port}")
    assert found == Result("SMTPNotSupportedError")
    assert (inbox.mails, inbox.users) == ([], [])


@pytest.mark.parametrize("code", ["451", "554"])
def test_a_refused_mail(inbox, code):
    inbox.answer = f"{code} no"
    with mail_server(inbox) as port:
        assert send(f"smtp://127.0.0.1:{port}") == Result(f"SMTP {code}")


def test_nobody_listens():
    assert send("smtp://127.0.0.1:9") == Result("ConnectionRefusedError")
