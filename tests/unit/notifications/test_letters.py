"""Letters to one person: sent in the background, retried, and without headers of strangers."""

import email
import email.policy
from contextlib import closing

import pytest

from openengagement.notifications import letters as module
from openengagement.notifications.letters import Letter, Letters
from openengagement.setting_kinds import parse_mail_server
from support.receiver import Inbox, mail_server
from support.waiting import wait_for

LETTER = Letter("ana@example.org", "Set a new password", "Open this link:\n\nhttps://x.example/é\n")


@pytest.fixture
def inbox():
    return Inbox()


@pytest.fixture
def letters(inbox):
    with mail_server(inbox) as port:
        server = parse_mail_server(f"smtp://127.0.0.1:{port}")
        made = Letters(server, "engagement@example.com", platform="Harbour\r\nBcc: x@example.com")
        with closing(made):
            yield made


def read(received):
    return email.message_from_bytes(received.content, policy=email.policy.default)


def test_a_letter(letters, inbox):
    letters.post(lambda: LETTER)
    wait_for(lambda: inbox.mails)
    (received,) = inbox.mails
    assert received.sender == "engagement@example.com"
    assert received.receivers == ["ana@example.org"]
    mail = read(received)
    assert mail["subject"] == "[Harbour Bcc: x@example.com] Set a new password"
    assert mail["bcc"] is None
    assert mail["auto-submitted"] == "auto-generated"
    assert mail.get_content().replace("\r\n", "\n") == LETTER.text


def test_nothing_is_sent_if_there_is_no_letter(letters, inbox):
    letters.post(lambda: None)
    letters.post(lambda: LETTER)
    wait_for(lambda: inbox.mails)
    assert len(inbox.mails) == 1


def test_an_error_of_one_letter_stops_no_other(letters, inbox, caplog):
    def fail():
        raise ValueError("a secret")

    letters.post(fail)
    letters.post(lambda: LETTER)
    wait_for(lambda: inbox.mails)


def test_a_letter_is_tried_three_times(letters, inbox, monkeypatch):
    monkeypatch.setattr(module, "_PAUSES_S", (0.0, 0.0))
    inbox.answer = "451 try again later"
    letters.post(lambda: LETTER)
    wait_for(lambda: len(inbox.mails) == 3)


def test_letters_beyond_the_limit_are_dropped(letters, inbox, monkeypatch):
    places = letters._places
    while places.acquire(blocking=False):
        pass
    letters.post(lambda: LETTER)
    places.release()
    letters.post(lambda: LETTER)
    wait_for(lambda: inbox.mails)
    assert len(inbox.mails) == 1


def test_closing_ends_the_pause_between_attempts(letters, inbox):
    inbox.answer = "451 try again later"
    letters.post(lambda: LETTER)
    wait_for(lambda: inbox.mails)
    letters.close()
    assert len(inbox.mails) == 1
