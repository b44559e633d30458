"""`openengagement webhook`: where managers are notified, and what was delivered."""

import asyncio
from typing import Annotated, Final

import typer

from openengagement.auth.credentials import draw_webhook, draw_webhook_secret
from openengagement.cli.common import (
    CLOCK,
    Json,
    Yes,
    confirm,
    fail,
    now_s,
    open_folder,
    read_settings,
    show,
    show_rows,
    show_time,
)
from openengagement.data_folder import DataFolder
from openengagement.notifications.addresses import UnfitWebhook, check_webhook_url
from openengagement.notifications.message import draw_test
from openengagement.notifications.sending import Sender
from openengagement.registry.deliveries import MAIL, Delivery, DeliveryState
from openengagement.registry.notifications import STORED_TYPES, NotificationType
from openengagement.registry.webhooks import Webhook

webhook = typer.Typer(
    help="Webhooks that tell managers what happened (docs/webhooks.md).", no_args_is_help=True
)

ONE_TIME: Final = "Give this secret to the receiver. It cannot be shown again."
_HOURS_MAX: Final = 24 * 30
_LISTED: Final = 100
_LISTED_MAX: Final = 10_000
WebhookId = Annotated[
    str, typer.Argument(metavar="WEBHOOK_ID", help="An id that `webhook list` shows.")
]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="An id that `webhook list` shows, or mail.")
]


@webhook.command("add")
def add_webhook(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="An https URL.")],
    event: Annotated[
        list[NotificationType] | None,
        typer.Option(
            "--event",
            show_default=False,
            help="A type of notification to send; may be repeated. By default all.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Register a webhook, and print the secret that signs what is sent to it."""
    if event and NotificationType.TEST in event:
        fail("webhook.test is sent by `webhook test` to every webhook; name other types")
    try:
        check_webhook_url(url, read_settings().allowed_webhook_networks)
    except UnfitWebhook as error:
        fail(str(error))
    types = " ".join(sorted(set(event))) if event else None
    with open_folder(context) as folder:
        secret, new = draw_webhook(folder.keyring, url, types=types, now_s=now_s())
        folder.registry.webhooks.add_webhook(new)
    fields = {"webhook_id": new.id, "secret": secret}
    note = f"Send a test with: openengagement webhook test {new.id}"
    show(fields, as_json=json, notes=(ONE_TIME, note))


@webhook.command("list")
def list_webhooks(context: typer.Context, json: Json = False) -> None:
    """List the webhooks, the oldest first."""
    with open_folder(context, existing=True) as folder:
        found = folder.registry.webhooks.list_webhooks()
    rows = [_describe(each, as_json=json) for each in found]
    show_rows("webhooks", rows, as_json=json)


@webhook.command("show")
def show_webhook(context: typer.Context, webhook_id: WebhookId, json: Json = False) -> None:
    """Show a webhook, without its secret."""
    with open_folder(context, existing=True) as folder:
        show(_describe(_find(folder, webhook_id), as_json=json), as_json=json)


@webhook.command("remove")
def remove_webhook(
    context: typer.Context, webhook_id: WebhookId, yes: Yes = False, json: Json = False
) -> None:
    """Remove a webhook with its deliveries. Those that wait are not sent any more."""
    with open_folder(context, existing=True) as folder:
        found = _find(folder, webhook_id)
        confirm(f"Remove the webhook {found.id} to {found.url}?", yes=yes)
        folder.registry.webhooks.remove_webhook(found, now_s=now_s())
    show({"webhook_id": found.id, "removed": True}, as_json=json)


@webhook.command("rotate")
def rotate_secret(
    context: typer.Context,
    webhook_id: WebhookId,
    old_hours: Annotated[
        int,
        typer.Option(
            "--old-hours", min=0, max=_HOURS_MAX, help="How long the old secret signs as well."
        ),
    ] = 24,
    json: Json = False,
) -> None:
    """Replace the secret of a webhook. For a while, messages have a signature under each."""
    secret, at_s = draw_webhook_secret(), now_s()
    old_until_s = at_s + old_hours * 3600
    with open_folder(context, existing=True) as folder:
        found, encrypted = _find(folder, webhook_id), folder.keyring.encrypt(secret)
        if not folder.registry.webhooks.replace_secret(
            found, encrypted, old_until_s=old_until_s, now_s=at_s
        ):
            fail("the secret was rotated at the same time; try again")
    fields = {
        "webhook_id": found.id,
        "secret": secret,
        "old_secret_until": show_time(old_until_s),
    }
    show(fields, as_json=json, notes=(ONE_TIME,))


@webhook.command("test")
def send_test(context: typer.Context, target: Target, json: Json = False) -> None:
    """Send a test now, once, and print the result. Exits with 1 if it was not accepted."""
    with open_folder(context) as folder:
        if target != MAIL:
            _find(folder, target)
        sender = Sender(
            folder.registry, folder.keyring, settings=read_settings(), now_s=CLOCK.now_s
        )
        result = asyncio.run(sender.send(draw_test(now_s=now_s()), target))
    fields = {"target": target, "delivered": result.is_delivered, "result": result.text}
    show(fields, as_json=json)
    if not result.is_delivered:
        raise typer.Exit(1)


@webhook.command("deliveries")
def list_deliveries(
    context: typer.Context,
    target: Annotated[
        str | None, typer.Option(help="Only those of this webhook, or of mail.")
    ] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_LISTED_MAX, help="How many.")] = _LISTED,
    json: Json = False,
) -> None:
    """List the deliveries of notifications, the newest first. They are kept for 40 days."""
    with open_folder(context, existing=True) as folder:
        found = folder.registry.deliveries.list_deliveries(limit=limit, target=target, state=state)
    show_rows("deliveries", [*map(_describe_delivery, found)], as_json=json)


@webhook.command("retry")
def retry_failed(context: typer.Context, target: Target, json: Json = False) -> None:
    """Begin the failed deliveries of a webhook, or of mail, again."""
    with open_folder(context, existing=True) as folder:
        if target != MAIL:
            _find(folder, target)
        count = folder.registry.deliveries.retry_failed(target, now_s=now_s())
    show({"target": target, "retried": count}, as_json=json)


def _find(folder: DataFolder, webhook_id: str) -> Webhook:
    found = folder.registry.webhooks.find_webhook(webhook_id)
    if found is None:
        fail(f"there is no webhook {webhook_id}; see: openengagement webhook list")
    return found


def _describe(found: Webhook, *, as_json: bool) -> dict[str, object]:
    types = found.types.split() if found.types else [*STORED_TYPES]
    return {
        "webhook_id": found.id,
        "events": types if as_json else (found.types or "all"),
        "created_at": show_time(found.created_at_s),
        "url": found.url,
    }


def _describe_delivery(delivery: Delivery) -> dict[str, object]:
    waits = delivery.state == DeliveryState.WAITING
    return {
        "id": delivery.notification_id,
        "type": delivery.type,
        "at": show_time(delivery.created_at_s),
        "target": delivery.target,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "result": delivery.result,
        "next_attempt_at": show_time(delivery.next_at_s) if waits else None,
    }
