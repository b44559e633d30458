"""Accounts, apps, tokens and platform keys, from the operator's shell."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from openengagement.auth.app_form import UnfitApp, check_app_form
from openengagement.auth.credentials import (
    Granted,
    issue_access_token,
    issue_app,
    issue_bearer,
    issue_platform_key,
)
from openengagement.cli.common import CLOCK, Json, fail, find_account, find_app, now_s, opened, show
from openengagement.engagement.types import ID_MAX, snowflake
from openengagement.ingest.rows import is_screen_name
from openengagement.registry.apps import AppForm
from openengagement.registry.registry import Account, NameTaken

account = typer.Typer(help="The platform's users.", no_args_is_help=True)
app = typer.Typer(help="Developers' applications.", no_args_is_help=True)
token = typer.Typer(help="Access tokens and bearer tokens.", no_args_is_help=True)
platform_key = typer.Typer(help="The platform's own keys for sending events.", no_args_is_help=True)

SHOWN_ONCE = "Keep it now: it is stored only as a hash and cannot be shown again."


class Access(StrEnum):
    """What an app's access tokens may do."""

    read = "read"
    read_write = "read-write"
    read_write_directmessages = "read-write-directmessages"


class Role(StrEnum):
    """What an account may do."""

    member = "member"
    manager = "manager"


AppId = Annotated[
    int, typer.Argument(metavar="APP_ID", min=1, max=ID_MAX, help="As `app add` printed it.")
]


@account.command("add")
def add_account(
    context: typer.Context,
    screen_name: Annotated[
        str, typer.Argument(metavar="SCREEN_NAME", help="What people know the account by.")
    ],
    account_id: Annotated[
        int | None, typer.Option("--id", min=1, max=ID_MAX, help="Its id; made up when left out.")
    ] = None,
    protected: Annotated[
        bool, typer.Option("--protected", help="Its Tweets are never served.")
    ] = False,
    role: Annotated[Role, typer.Option(help="A manager enables apps.")] = Role.member,
    json: Json = False,
) -> None:
    """Register an account."""
    if not is_screen_name(screen_name):
        fail(f"{screen_name!r} is not 1 to 64 letters, digits, dots, hyphens or underscores")
    chosen = account_id or snowflake(CLOCK.now_s())
    with opened(context) as parts:
        try:
            new = Account(chosen, screen_name, protected, role.value)
            parts.registry.add_account(new, now_s=now_s())
        except NameTaken:
            also = f" or the id {account_id}" if account_id else ""
            fail(f"the screen name {screen_name}{also} is already registered")
    fields = {
        "id": str(chosen),
        "screen_name": screen_name,
        "protected": protected,
        "role": role.value,
    }
    show(fields, as_json=json)


@account.command("password")
def set_password(
    context: typer.Context,
    screen_name: Annotated[
        str, typer.Argument(metavar="SCREEN_NAME", help="The account that signs in with it.")
    ],
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read it from standard input instead of asking.")
    ] = False,
    json: Json = False,
) -> None:
    """Set the password an account signs in with; a changed one ends its sessions and tokens."""
    from openengagement.auth.passwords import UnfitPassword, hash_password

    with opened(context) as parts:
        known = find_account(parts, screen_name)
        if stdin:
            password = sys.stdin.readline().rstrip("\r\n")
        else:
            password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
        try:
            hashed = hash_password(password)
        except UnfitPassword as error:
            fail(str(error))
        revoked = parts.registry.sessions.set_password(known.id, password_hash=hashed)
    fields = {"screen_name": known.screen_name, "access_tokens_revoked": revoked}
    show(fields, as_json=json)


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
        typer.Option("--per-minute", min=1, max=10_000_000, help="Requests a minute it may make."),
    ] = None,
    json: Json = False,
) -> None:
    """Let an App ID use the Engagement API, at once, on every worker."""
    _set_enabled(context, app_id, enabled=True, per_minute=per_minute, as_json=json)


@app.command("disable")
def disable_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Stop an App ID from using the Engagement API, at once, on every worker; its limit is kept."""
    _set_enabled(context, app_id, enabled=False, per_minute=None, as_json=json)


def _set_enabled(
    context: typer.Context, app_id: int, *, enabled: bool, per_minute: int | None, as_json: bool
) -> None:
    with opened(context) as parts:
        find_app(parts, app_id)
        parts.registry.apps.set_enabled(app_id, enabled=enabled, per_minute=per_minute)
        changed = find_app(parts, app_id)
    fields = {"app_id": str(app_id), "enabled": enabled, "per_minute": changed.per_minute}
    show(fields | {"suspended": changed.suspended}, as_json=as_json)


@app.command("suspend")
def suspend_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Stop an App ID from doing anything at all: calls, sign-ins, tokens. Nothing is deleted."""
    _set_suspended(context, app_id, suspended=True, as_json=json)


@app.command("resume")
def resume_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Let a suspended App ID go on where it was stopped."""
    _set_suspended(context, app_id, suspended=False, as_json=json)


def _set_suspended(context: typer.Context, app_id: int, *, suspended: bool, as_json: bool) -> None:
    with opened(context) as parts:
        find_app(parts, app_id)
        parts.registry.apps.set_suspended(app_id, suspended=suspended)
    show({"app_id": str(app_id), "suspended": suspended}, as_json=as_json)


@token.command("issue")
def issue_token(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """The access token and secret of the app's owner; the same pair each time."""
    with opened(context) as parts:
        owned = find_app(parts, app_id)
        granted = Granted(app_id, owned.owner_id, owned.access_level)
        access_token, secret = issue_access_token(
            parts.registry, parts.keyring, granted=granted, now_s=now_s()
        )
    show({"access_token": access_token, "access_token_secret": secret}, as_json=json)


@token.command("bearer")
def bearer_token(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """The app's bearer token; the same one until it is invalidated."""
    with opened(context) as parts:
        bearer = issue_bearer(parts.registry, parts.keyring, app=find_app(parts, app_id))
    show({"access_token": bearer}, as_json=json)


@platform_key.command("issue")
def issue_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    json: Json = False,
) -> None:
    """A key for sending events and registering accounts and Tweets."""
    with opened(context) as parts:
        key = issue_platform_key(parts.registry, name=name, now_s=now_s())
    show({"platform_key": key}, as_json=json, notes=(SHOWN_ONCE,))
