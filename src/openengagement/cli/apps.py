"""Apps, and what they are let do, from the operator's shell; each decision is in the audit log."""

from enum import StrEnum
from typing import Annotated

import typer

from openengagement.apps.app_form import UnfitApp, check_app_form
from openengagement.auth.credentials import issue_app
from openengagement.cli.common import AppId, Json, fail, find_account, find_app, now_s, opened, show
from openengagement.registry.apps import App, AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.decisions import HANDLES_MAX, PER_MINUTE_MAX

app = typer.Typer(help="Developers' applications.", no_args_is_help=True)


class Access(StrEnum):
    """What an app's access tokens may do."""

    read = "read"
    read_write = "read-write"
    read_write_directmessages = "read-write-directmessages"


@app.command("add")
def add_app(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What people who consent know it by.")
    ],
    owner: Annotated[str, typer.Option(metavar="SCREEN_NAME", help="The account that owns it.")],
    callback: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A callback URL; up to 10.")
    ] = None,
    website: Annotated[
        str | None, typer.Option(metavar="URL", help="Where people read about it.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="What it does, in a sentence, for who consents.")
    ] = None,
    access: Annotated[Access, typer.Option(help="What its tokens may do.")] = Access.read,
    sign_in: Annotated[
        bool,
        typer.Option("--sign-in", help="oauth/authenticate passes who authorized it before."),
    ] = False,
    json: Json = False,
) -> None:
    """Register an app. It may not use the API until `app enable`."""
    with opened(context) as parts:
        form = AppForm(
            name=name,
            owner_id=find_account(parts, owner).id,
            callbacks=callback or [],
            website=website,
            description=description,
            access_level=access.value,
            sign_in=sign_in,
        )
        try:
            check_app_form(form)
        except UnfitApp as error:
            fail(str(error))
        made = issue_app(parts.registry, parts.keyring, form=form, now_s=now_s())
    fields = {
        "app_id": str(made.app_id),
        "consumer_key": made.consumer_key,
        "consumer_secret": made.consumer_secret,
    }
    note = f"Enable it for the Engagement API with: openengagement app enable {made.app_id}"
    show(fields, as_json=json, notes=(note,))


@app.command("enable")
def enable_app(
    context: typer.Context,
    app_id: AppId,
    per_minute: Annotated[
        int | None,
        typer.Option(
            "--per-minute", min=1, max=PER_MINUTE_MAX, help="Requests a minute it may make."
        ),
    ] = None,
    handles: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=HANDLES_MAX,
            help="Unique @handles a month it has agreed on; more are billed.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Let an App ID use the Engagement API, at once, on every worker."""
    given = {"per_minute": per_minute, "handles_contracted": handles}
    said = {name: value for name, value in given.items() if value is not None}
    changed = _decide(context, app_id, values={"enabled": True, **said})
    show(_access(changed), as_json=json)


@app.command("disable")
def disable_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Stop an App ID from using the Engagement API, at once, on every worker; its limit is kept."""
    show(_access(_decide(context, app_id, values={"enabled": False})), as_json=json)


@app.command("suspend")
def suspend_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Stop an App ID from doing anything at all: calls, sign-ins, tokens. Nothing is deleted."""
    _decide(context, app_id, values={"suspended": True})
    show({"app_id": str(app_id), "suspended": True}, as_json=json)


@app.command("resume")
def resume_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Let a suspended App ID go on where it was stopped."""
    _decide(context, app_id, values={"suspended": False})
    show({"app_id": str(app_id), "suspended": False}, as_json=json)


def _decide(context: typer.Context, app_id: int, *, values: dict[str, bool | int | None]) -> App:
    """Change what an app may do, and say what it may do now."""
    with opened(context) as parts:
        find_app(parts, app_id)
        parts.registry.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=now_s())
        return find_app(parts, app_id)


def _access(changed: App) -> dict[str, str | bool | int | None]:
    return {
        "app_id": str(changed.id),
        "enabled": changed.enabled,
        "per_minute": changed.per_minute,
        "handles_contracted": changed.handles_contracted,
        "suspended": changed.suspended,
    }
