"""Send a notification by mail, as plain text."""

import json
import smtplib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

import httpx

from openengagement.engagement.types import utc_datetime
from openengagement.notifications.message import Message, Result
from openengagement.registry.notifications import NotificationType
from openengagement.setting_kinds import MailServer

_STEP_S: Final = 5.0  # for each step of the dialogue
# The subject, and what to do.
_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    NotificationType.APP_WAITING: (
        "The app {name} of @{owner} waits for access",
        "Decide at /manage, or with: openengagement app enable {app_id}",
    ),
    NotificationType.LIMIT_REACHED: (
        "The app {name} of @{owner} has reached its rate limit on {day}",
        "Change the limit with: openengagement app enable {app_id} --per-minute N",
    ),
    NotificationType.CONTRACT_NEAR: (
        "The app {name} of @{owner} has used {handles} of {handles_contracted} handles",
        "Contracted handles are for billing only, so no request is refused.",
    ),
    NotificationType.CONTRACT_REACHED: (
        "The app {name} of @{owner} has used all {handles_contracted} contracted handles",
        "Contracted handles are for billing only, so no request is refused.",
    ),
    NotificationType.DAMAGE_FOUND: (
        "Stored data is damaged: {file}",
        "Run `openengagement check`. Requests for this data get 503.",
    ),
    NotificationType.TEST: ("This is a test", "Mail from this server arrives."),
}


@dataclass(frozen=True, slots=True)
class Mailer:
    """Sends mail to the managers through one server."""

    server: MailServer
    sender: str
    receivers: tuple[str, ...]
    platform: str

    def send(self, message: Message) -> Result:
        """Make one attempt. Call it in a thread."""
        try:
            with self._connect() as session:
                refused = session.send_message(self._write(message))
        except smtplib.SMTPResponseException as error:
            return Result(f"SMTP {error.smtp_code}")
        except (smtplib.SMTPException, OSError) as error:
            return Result(type(error).__name__)
        return Result("refused receivers" if refused else "sent", is_delivered=True)

    def _connect(self) -> smtplib.SMTP:
        """Connect and authenticate. Only a server on this machine may be without TLS."""
        server, tls = self.server, httpx.create_ssl_context()
        if server.tls:
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=_STEP_S, context=tls
            )
        else:
            session = smtplib.SMTP(server.host, server.port, timeout=_STEP_S)
        try:
            session.ehlo()
            if not server.tls and (not server.is_local or session.has_extn("starttls")):
                session.starttls(context=tls)
            if server.user:
                session.login(server.user, server.password)
        except BaseException:
            session.close()
            raise
        return session

    def _write(self, message: Message) -> EmailMessage:
        data: dict[str, Any] = json.loads(message.data)
        subject, advice = (text.format_map(data) for text in _TEXTS[message.type])
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = " ".join(f"[{self.platform}] {subject}".split())
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.receivers)
        mail["Date"] = format_datetime(utc_datetime(message.created_at_s))
        mail["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        facts = "\n".join(f"{name}: {value}" for name, value in data.items())
        mail.set_content(f"{subject}.\n\n{advice}\n\n{facts}\n")
        return mail
