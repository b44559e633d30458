"""The settings of webhooks and mail, to managers and to people (see `settings`)."""

from dataclasses import dataclass

from openengagement.look_settings import LookSettings
from openengagement.provider_settings import SettingsError
from openengagement.setting_kinds import (
    MailServer,
    Network,
    check_public_url,
    parse_mail_address,
    parse_mail_addresses,
    parse_mail_server,
    parse_networks,
)
from openengagement.setting_kinds import number as _number
from openengagement.setting_kinds import text as _text


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings(LookSettings):
    """The settings of notifications."""

    webhook_networks: str = _text(
        "",
        "Networks without public addresses that webhooks may call, such as 10.1.0.0/16. HTTP "
        "without TLS is accepted only for addresses of this machine that are listed here.",
        unit="networks, separated by commas",
    )
    smtp_server: str = _text(
        "",
        "Server that sends mail, such as smtp://user:password@mail.example.com:587 "
        "(STARTTLS) or smtps:// (TLS). By default no mail is sent.",
        unit="URL",
        secret=True,
    )
    mail_from: str = _text("", "Sender of mail.", unit="address")
    mail_to: str = _text(
        "", "Receivers of mail about notifications.", unit="addresses, separated by commas"
    )

    public_url: str = _text(
        "",
        "Address at which people reach this server, such as https://engagement.example.com. Links "
        "in mail begin with it. Without it, no password is reset by mail.",
        unit="URL",
    )
    password_reset_minutes: int = _number(
        30,
        "How long a link that resets a password is valid.",
        unit="minutes",
        limits=(5, 1440),
    )

    def check_notifications(self) -> None:
        """Check these settings.

        Raises:
            SettingsError
        """
        _ = self.allowed_webhook_networks, self.mail_server, self.mail_receivers
        self._parse("public_url", check_public_url)
        if self.mail_from:
            self._parse("mail_from", parse_mail_address)
        mail = (self.smtp_server, self.mail_from, self.mail_to)
        if any(mail) and not all(mail):
            names = "OPENENGAGEMENT_SMTP_SERVER, MAIL_FROM, MAIL_TO"
            raise SettingsError(f"{names}: set all three or none")

    @property
    def allowed_webhook_networks(self) -> tuple[Network, ...]:
        """The networks of `webhook_networks`."""
        return self._parse("webhook_networks", parse_networks)

    @property
    def mail_server(self) -> MailServer | None:
        """The server of `smtp_server`; None if no mail is sent."""
        return self._parse("smtp_server", parse_mail_server) if self.smtp_server else None

    @property
    def mail_receivers(self) -> tuple[str, ...]:
        """The addresses of `mail_to`."""
        return self._parse("mail_to", parse_mail_addresses)
