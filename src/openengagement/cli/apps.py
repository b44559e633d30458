"""`openengagement app add`, and decisions on apps. The audit log records each decision."""

from typing import Annotated

import typer

from openengagement.apps.app_form import UnfitApp, check_app_form
from openengagement.auth.credentials import NewApp, issue_app, rotate_consumer
from openengagement.cli.app_views import app
from openengagement.cli.common import (
    AppId,
    Json,
    fail,
    find_account,
    find_app,
    now_s,
    open_folder,
    read_settings,
    show,
)
from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.apps import App, AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.decisions import HANDLES_MAX, PER_MINUTE_MAX

__all__ = ["app"]  # with the commands that this module adds


@app.command("add")
def add_app(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name that people see when they authorize it.")
    ],
    owner: Annotated[str, typer.Option(metavar="SCREEN_NAME", help="The account that owns it.")],
    callback: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A callback URL; up to 10.")
    ] = None,
    website: Annotated[
        str | None, typer.Option(metavar="URL", help="A page about the app.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="One sentence for the people who authorize it.")
    ] = None,
    access: Annotated[
        AccessLevel, typer.Option(help="What its access tokens permit.")
    ] = AccessLevel.READ,
    sign_in: Annotated[
        bool,
        typer.Option(
            "--sign-in",
            help="oauth/authenticate asks for consent only once; later it redirects at once.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Register an app. It cannot use the API until `app enable`."""
    with open_folder(context) as folder:
        form = AppForm(
            name=name,
            owner_id=find_account(folder, owner).id,
            callbacks=callback or [],
            website=website,
            description=description,
            access_level=access,
            sign_in=sign_in,
        )
        try:
            check_app_form(form, schemes=read_settings().allowed_callback_schemes)
        except UnfitApp as error:
            fail(str(error))
        new = issue_app(folder.registry, folder.keyring, form=form, now_s=now_s())
    note = f"Enable it for the Engagement API with: openengagement app enable {new.app_id}"
    show(_keys(new), as_json=json, notes=(note,))


@app.command("rotate")
def rotate_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Replace the key and secret of an app, as after a leak, and print the new ones.

    The old pair and the bearer token are refused from the next request on. Access tokens stay, and
    work with the new key.
    """
    with open_folder(context, existing=True) as folder:
        find_app(folder, app_id)
        new = rotate_consumer(folder.registry, folder.keyring, app_id=app_id)
    note = f"The bearer token has ended. A new one: openengagement token bearer {app_id}"
    show(_keys(new), as_json=json, notes=(note,))


@app.command("enable")
def enable_app(
    context: typer.Context,
    app_id: AppId,
    per_minute: Annotated[
        int | None,
        typer.Option(
            "--per-minute", min=1, max=PER_MINUTE_MAX, help="Its rate limit, in requests a minute."
        ),
    ] = None,
    handles: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=HANDLES_MAX,
            help="Unique @handles a month in its contract, for billing only.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Let an App ID use the Engagement API. It takes effect with the next request."""
    given = {"per_minute": per_minute, "handles_contracted": handles}
    limits = {name: value for name, value in given.items() if value is not None}
    show(_access(_decide(context, app_id, values={"enabled": True, **limits})), as_json=json)


@app.command("disable")
def disable_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Stop an App ID from using the Engagement API, from its next request on. Keep its limits."""
    show(_access(_decide(context, app_id, values={"enabled": False})), as_json=json)


@app.command("suspend")
def suspend_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Refuse all calls, sign-ins and token requests of an App ID. Delete nothing."""
    _decide(context, app_id, values={"suspended": True})
    show({"app_id": str(app_id), "suspended": True}, as_json=json)


@app.command("resume")
def resume_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """End the suspension of an App ID. Its tokens work again."""
    _decide(context, app_id, values={"suspended": False})
    show({"app_id": str(app_id), "suspended": False}, as_json=json)


def _keys(app: NewApp) -> dict[str, str]:
    return {
        "app_id": str(app.app_id),
        "consumer_key": app.consumer_key,
        "consumer_secret": app.consumer_secret,
    }


def _decide(context: typer.Context, app_id: int, *, values: dict[str, bool | int | None]) -> App:
    """Change an app, record the decision, and return the changed app."""
    with open_folder(context) as folder:
        find_app(folder, app_id)
        folder.registry.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=now_s())
        return find_app(folder, app_id)


def _access(app: App) -> dict[str, str | bool | int | None]:
    return {
        "app_id": str(app.id),
        "enabled": app.enabled,
        "per_minute": app.per_minute,
        "handles_contracted": app.handles_contracted,
        "suspended": app.suspended,
    }
