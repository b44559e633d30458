"""Send a notification by mail, as plain text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from openengagement.engagement.types import utc_datetime
from openengagement.notifications.message import Message, Result
from openengagement.notifications.smtp import send_mail
from openengagement.registry.notifications import NotificationType
from openengagement.setting_kinds import MailServer

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
        return send_mail(self.server, self._write(message))

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
