"""Mail to one person about their account, sent in the background.

A request never waits for it, so its time does not tell whether a mail was sent. A letter is lost if
the process ends first, or if every attempt fails; the log says so. The person can ask again.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid
from threading import BoundedSemaphore, Event
from typing import Final

from openengagement.notifications.message import Result
from openengagement.setting_kinds import MailServer
from openengagement.telemetry import WARNING, log_event

_WAITING_MAX: Final = 200
_PAUSES_S: Final = (5.0, 30.0)  # between the attempts


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to one person, as plain text."""

    to: str
    subject: str
    text: str


class Letters:
    """Writes and sends letters in threads of its own."""

    def __init__(self, server: MailServer, sender: str, *, platform: str) -> None:
        self._server = server
        self._sender = sender
        self._platform = platform
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="mail")
        self._places = BoundedSemaphore(_WAITING_MAX)
        self._closing = Event()

    def post(self, write: Callable[[], Letter | None]) -> None:
        """Call `write` in the background, and send the letter that it returns."""
        if not self._places.acquire(blocking=False):
            log_event("letter_failed", level=WARNING, reason="too many wait")
            return
        self._pool.submit(self._work, write)

    def close(self) -> None:
        """Finish the letter that is being sent. Those that wait are lost."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)

    def _work(self, write: Callable[[], Letter | None]) -> None:
        try:
            if letter := write():
                self._send(letter)
        except Exception as error:  # nobody else sees an error of this thread
            log_event("letter_failed", level=WARNING, reason=type(error).__name__)
        finally:
            self._places.release()

    def _send(self, letter: Letter) -> None:
        from openengagement.notifications.smtp import send_mail  # noqa: PLC0415 - slow to import

        mail = self._format(letter)
        result = send_mail(self._server, mail)
        for pause_s in _PAUSES_S:
            if result.is_delivered or self._closing.wait(pause_s):
                break
            result = send_mail(self._server, mail)
        _log(result)

    def _format(self, letter: Letter) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = " ".join(f"[{self._platform}] {letter.subject}".split())
        mail["From"] = self._sender
        mail["To"] = letter.to
        mail["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(letter.text)
        return mail


def _log(result: Result) -> None:
    if result.is_delivered:
        log_event("letter_sent")
    else:
        log_event("letter_failed", level=WARNING, reason=result.text)
