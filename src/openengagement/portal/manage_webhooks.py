"""Webhooks in the console: list, add, test, rotate and remove them, and see their deliveries."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from openengagement.auth.credentials import draw_webhook, draw_webhook_secret
from openengagement.data_folder import DataFolder
from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop
from openengagement.notifications.addresses import (
    URL_LENGTH_MAX,
    UnfitWebhook,
    check_webhook_url,
)
from openengagement.notifications.message import Result, draw_test
from openengagement.notifications.sending import Sender
from openengagement.portal.manage_keys import refuse_former_manager
from openengagement.portal.manage_views import actor_of
from openengagement.portal.one_time_secrets import OneTimeSecrets
from openengagement.portal.page_request import PageRequest, with_query
from openengagement.portal.rendering import NO_FAULTS, PageRenderer, Refusal, redirect
from openengagement.registry.decisions import NotManager
from openengagement.registry.deliveries import MAIL, DeliveryState
from openengagement.registry.notifications import STORED_TYPES, NotificationType
from openengagement.registry.webhooks import Webhook
from openengagement.settings import Settings

WEBHOOKS_PATH: Final = "/manage/webhooks"
_SUBJECT: Final = "webhooks"
_OLD_SECRET_S: Final = 86_400  # how long the old secret signs as well
_SHOWN: Final = 50  # deliveries
_VIEW: Final = ("target", "state")  # of the deliveries
_TYPES: Final = {
    NotificationType.APP_WAITING: gettext_noop("An app waits for access"),
    NotificationType.LIMIT_REACHED: gettext_noop("An app reached its rate limit"),
    NotificationType.CONTRACT_NEAR: gettext_noop(
        "An app has used 80 percent of its contracted handles"
    ),
    NotificationType.CONTRACT_REACHED: gettext_noop("An app has used all its contracted handles"),
    NotificationType.DAMAGE_FOUND: gettext_noop("Stored data is damaged"),
}
_STATES: Final = {
    DeliveryState.WAITING: gettext_noop("Waiting"),
    DeliveryState.DELIVERED: gettext_noop("Delivered"),
    DeliveryState.FAILED: gettext_noop("Failed"),
}
_NO_WEBHOOK: Final = Refusal(
    404,
    gettext_noop("There is no such webhook"),
    gettext_noop("It may have been removed. Check the list of webhooks."),
)
_CHANGED: Final = Refusal(
    409,
    gettext_noop("The secret was rotated at the same time"),
    gettext_noop("Another manager rotated it. Open the list again before you rotate it once more."),
)


class InvalidWebhook(ValueError):
    """Fields of the form are invalid; `faults` says what to write in each."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__(*faults.values())
        self.faults = faults


class WebhooksPage:
    """Handlers of `/manage/webhooks`."""

    def __init__(
        self,
        renderer: PageRenderer,
        folder: DataFolder,
        *,
        settings: Settings,
        one_time_secrets: OneTimeSecrets,
        now_s: Callable[[], float],
    ) -> None:
        self._renderer = renderer
        self._registry, self._keyring = folder.registry, folder.keyring
        self._settings = settings
        self._one_time_secrets = one_time_secrets
        self._now_s = now_s

    def show(self, request: PageRequest, *, error: InvalidWebhook | None = None) -> Response:
        """`GET /manage/webhooks`, and the answer to a form that has an `error`."""
        webhooks, deliveries = self._registry.webhooks.list_webhooks(), self._registry.deliveries
        target, state = request.query.get("target") or None, _read_state(request)
        failed = deliveries.count_failed()
        context: dict[str, Any] = {
            "title": _("Webhooks"),
            "scripts": ("page.js",),
            "webhooks": [self._describe(each, failed=failed.get(each.id, 0)) for each in webhooks],
            "mail": {"id": MAIL, "receivers": self._mail_receivers, "failed": failed.get(MAIL, 0)},
            "types": _TYPES,
            "deliveries": deliveries.list_deliveries(limit=_SHOWN, target=target, state=state),
            "hosts": {each.id: each.host for each in webhooks},
            "target": target or "",
            "state": state or "",
            "states": {each.value: text for each, text in _STATES.items()},
            "shown": {} if error else self._one_time_secrets.take(request, _SUBJECT),
            "typed": request.fields,
            "faults": error.faults if error else NO_FAULTS,
            "url_length_max": URL_LENGTH_MAX,
            "view": with_query("", request.kept(*_VIEW)),
        }
        status = 400 if error else 200
        return self._renderer.render(request, "manage_webhooks", context=context, status=status)

    def act(self, request: PageRequest) -> Response:
        """`POST /manage/webhooks`: add a webhook, or `retry`, `rotate` or `remove` one."""
        actions = {"retry": self._retry, "rotate": self._rotate, "remove": self._remove}
        try:
            for name, change in actions.items():
                if target := request.fields.get(name):
                    return change(request, target)
            return self._add(request)
        except InvalidWebhook as error:
            return self.show(request, error=error)
        except NotManager:
            return refuse_former_manager(self._renderer, request)

    async def test(self, request: PageRequest) -> Response:
        """`POST /manage/webhooks/test`: send a test to `target` once, and show the result."""
        target = request.fields.get("target", "")
        if not await asyncio.to_thread(self._has_target, target):
            return await asyncio.to_thread(self._renderer.refuse, request, _NO_WEBHOOK)
        make_sender = partial(
            Sender, self._registry, self._keyring, settings=self._settings, now_s=self._now_s
        )
        sender = await asyncio.to_thread(make_sender)
        result = await sender.send(draw_test(now_s=int(self._now_s())), target)
        return self._show_result(request, target, result=result)

    def _show_result(self, request: PageRequest, target: str, *, result: Result) -> Response:
        """Redirect to the page that shows the result, so that a reload sends no second test."""
        shown = {"tested": target, "result": result.text}
        if result.is_delivered:
            shown["delivered"] = "yes"
        self._one_time_secrets.put(request, _SUBJECT, secrets=shown)
        return _return(request)

    def _add(self, request: PageRequest) -> Response:
        assert request.session is not None, "the page's route demands a manager"
        url, types = self._read_form(request)
        secret, new = draw_webhook(self._keyring, url, types=types, now_s=int(self._now_s()))
        self._registry.webhooks.add_webhook(new, actor=actor_of(request.session))
        return self._show_secret(request, new.id, secret=secret)

    def _rotate(self, request: PageRequest, webhook_id: str) -> Response:
        assert request.session is not None, "the page's route demands a manager"
        webhook, secret = self._registry.webhooks.find_webhook(webhook_id), draw_webhook_secret()
        if webhook is None:
            return self._renderer.refuse(request, _NO_WEBHOOK)
        now_s = int(self._now_s())
        is_replaced = self._registry.webhooks.replace_secret(
            webhook,
            self._keyring.encrypt(secret),
            old_until_s=now_s + _OLD_SECRET_S,
            now_s=now_s,
            actor=actor_of(request.session),
        )
        if not is_replaced:
            return self._renderer.refuse(request, _CHANGED)
        return self._show_secret(request, webhook_id, secret=secret)

    def _remove(self, request: PageRequest, webhook_id: str) -> Response:
        assert request.session is not None, "the page's route demands a manager"
        webhook = self._registry.webhooks.find_webhook(webhook_id)
        actor, now_s = actor_of(request.session), int(self._now_s())
        if webhook is None or not self._registry.webhooks.remove_webhook(
            webhook, now_s=now_s, actor=actor
        ):
            return self._renderer.refuse(request, _NO_WEBHOOK)
        return _return(request)

    def _retry(self, request: PageRequest, target: str) -> Response:
        if not self._has_target(target):
            return self._renderer.refuse(request, _NO_WEBHOOK)
        self._registry.deliveries.retry_failed(target, now_s=int(self._now_s()))
        return _return(request)

    def _show_secret(self, request: PageRequest, webhook_id: str, *, secret: str) -> Response:
        shown = {"id": webhook_id, "secret": secret}
        self._one_time_secrets.put(request, _SUBJECT, secrets=shown)
        return _return(request)

    def _has_target(self, target: str) -> bool:
        if target == MAIL:
            return bool(self._mail_receivers)
        return self._registry.webhooks.find_webhook(target) is not None

    @property
    def _mail_receivers(self) -> tuple[str, ...]:
        return self._settings.mail_receivers if self._settings.mail_server else ()

    def _describe(self, webhook: Webhook, *, failed: int) -> dict[str, object]:
        until_s = webhook.old_secret_until_s or 0
        return {
            "webhook": webhook,
            "types": webhook.types.split() if webhook.types else [],
            "old_until_s": until_s if until_s > self._now_s() else None,
            "failed": failed,
        }

    def _read_form(self, request: PageRequest) -> tuple[str, str | None]:
        """Return the URL of a webhook to add, and its types (None for all).

        Raises:
            InvalidWebhook
        """
        url, faults = request.fields.get("url", "").strip(), {}
        try:
            check_webhook_url(url, self._settings.allowed_webhook_networks)
        except UnfitWebhook as error:
            text = str(error)
            faults["url"] = f"{text[:1].upper()}{text[1:]}."
        types = [kind for kind in STORED_TYPES if f"type_{kind}" in request.fields]
        if not types:
            faults["types"] = _("Choose at least one notification.")
        if faults:
            raise InvalidWebhook(faults)
        return url, None if len(types) == len(STORED_TYPES) else " ".join(sorted(types))


def _return(request: PageRequest) -> Response:
    """Return to the list of webhooks, with the same deliveries as before."""
    return redirect(with_query(WEBHOOKS_PATH, request.kept(*_VIEW)))


def _read_state(request: PageRequest) -> DeliveryState | None:
    text = request.query.get("state", "")
    return DeliveryState(text) if text in tuple(DeliveryState) else None
