"""Make one attempt of a delivery: to a webhook, or by mail."""

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from openengagement.auth.keyring import KeyFileError, Keyring
from openengagement.notifications.message import Message, Result, sign_message
from openengagement.registry.deliveries import MAIL
from openengagement.registry.registry import Registry
from openengagement.registry.webhooks import Webhook
from openengagement.settings import Settings

if TYPE_CHECKING:
    from openengagement.notifications.mailing import Mailer

_AGENT: Final = f"openengagement/{version('openengagement')}"


class Sender:
    """Sends messages. To make one imports the HTTP client, which takes a moment."""

    def __init__(
        self,
        registry: Registry,
        keyring: Keyring,
        *,
        settings: Settings,
        now_s: Callable[[], float],
    ) -> None:
        from openengagement.notifications.posting import Poster  # noqa: PLC0415

        self._registry = registry
        self._keyring = keyring
        self._now_s = now_s
        self._poster = Poster(settings.allowed_webhook_networks)
        self._mailer = _make_mailer(settings)

    async def send(self, message: Message, target: str) -> Result:
        """Make one attempt. Failures are results; only those of the registry are raised."""
        if target == MAIL:
            if self._mailer is None:
                return Result("mail is not set", is_final=True)
            return await asyncio.to_thread(self._mailer.send, message)
        webhook = await asyncio.to_thread(self._registry.webhooks.find_webhook, target)
        if webhook is None:
            return Result("removed", is_final=True)
        try:
            secrets = self._read_secrets(webhook)
        except KeyFileError:
            return Result("secret unreadable")
        headers = sign_message(message, secrets, now_s=int(self._now_s()))
        headers["user-agent"] = _AGENT
        return await self._poster.post(webhook.url, message.body, headers=headers)

    def _read_secrets(self, webhook: Webhook) -> list[str]:
        """Decrypt the secrets that sign now, the newest first."""
        secrets = [webhook.secret]
        if webhook.old_secret is not None and self._now_s() < (webhook.old_secret_until_s or 0):
            secrets.append(webhook.old_secret)
        return [self._keyring.decrypt(secret) for secret in secrets]


def _make_mailer(settings: Settings) -> "Mailer | None":
    if settings.mail_server is None:
        return None
    from openengagement.notifications.mailing import make_mailer  # noqa: PLC0415

    return make_mailer(settings, settings.mail_server)
