"""Send a notification by mail, as plain text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

from openengagement.engagement.types import utc_datetime
from openengagement.language.current import gettext_noop
from openengagement.language.languages import Language, load_language
from openengagement.notifications.message import Message, Result
from openengagement.notifications.smtp import send_mail
from openengagement.registry.notifications import NotificationType
from openengagement.setting_kinds import MailServer
from openengagement.settings import Settings

# The subject, and what to do.
_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    NotificationType.APP_WAITING: (
        gettext_noop("The app %(name)s of @%(owner)s waits for access"),
        gettext_noop("Decide at /manage, or with: openengagement app enable %(app_id)s"),
    ),
    NotificationType.LIMIT_REACHED: (
        gettext_noop("The app %(name)s of @%(owner)s has reached its rate limit on %(day)s"),
        gettext_noop("Change the limit with: openengagement app enable %(app_id)s --per-minute N"),
    ),
    NotificationType.CONTRACT_NEAR: (
        gettext_noop(
            "The app %(name)s of @%(owner)s has used %(handles)s of %(handles_contracted)s handles"
        ),
        gettext_noop("Contracted handles are for billing only, so no request is refused."),
    ),
    NotificationType.CONTRACT_REACHED: (
        gettext_noop(
            "The app %(name)s of @%(owner)s has used all %(handles_contracted)s contracted handles"
        ),
        gettext_noop("Contracted handles are for billing only, so no request is refused."),
    ),
    NotificationType.DAMAGE_FOUND: (
        gettext_noop("Stored data is damaged: %(file)s"),
        gettext_noop("Run `openengagement check`. Requests for this data get 503."),
    ),
    NotificationType.TEST: (
        gettext_noop("This is a test"),
        gettext_noop("Mail from this server arrives."),
    ),
}
_LABELS: Final[Mapping[str, str]] = {
    "app_id": gettext_noop("App ID"),
    "name": gettext_noop("Name"),
    "owner": gettext_noop("Screen name"),
    "day": gettext_noop("Day"),
    "month": gettext_noop("Month"),
    "handles": gettext_noop("Handles"),
    "handles_contracted": gettext_noop("Contracted handles a month"),
    "file": gettext_noop("File"),
    "reason": gettext_noop("Reason"),
}


@dataclass(frozen=True, slots=True)
class Mailer:
    """Sends mail to the managers through one server, in the language of the platform."""

    server: MailServer
    sender: str
    receivers: tuple[str, ...]
    platform: str
    language: Language

    def send(self, message: Message) -> Result:
        """Make one attempt. Call it in a thread."""
        return send_mail(self.server, self._write(message))

    def _write(self, message: Message) -> EmailMessage:
        translate, data = self.language.gettext, self._describe(message)
        subject, advice = (translate(text) % data for text in _TEXTS[message.type])
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = " ".join(f"[{self.platform}] {subject}".split())
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.receivers)
        mail["Date"] = format_datetime(utc_datetime(message.created_at_s))
        mail["Message-ID"] = f"<{message.id}@{self.sender.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        facts = "\n".join(
            f"{translate(_LABELS.get(name, name))}: {value}" for name, value in data.items()
        )
        mail.set_content(f"{subject}.\n\n{advice}\n\n{facts}\n")
        return mail

    def _describe(self, message: Message) -> dict[str, Any]:
        """Return the data of a notification, with numbers as the language writes them."""
        data: dict[str, Any] = json.loads(message.data)
        write = self.language.formats.number
        return {name: write(each) if isinstance(each, int) else each for name, each in data.items()}


def make_mailer(settings: Settings, server: MailServer) -> Mailer:
    """Return what sends mail to the managers as the settings say."""
    code = settings.page_languages[0]
    language = load_language(code, settings.platform_nouns.get(code))
    receivers = settings.mail_receivers
    return Mailer(server, settings.mail_from, receivers, settings.platform_name, language)
