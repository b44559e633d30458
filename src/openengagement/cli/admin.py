"""Accounts, tokens and platform keys, from the operator's shell."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from openengagement.auth.credentials import (
    Granted,
    issue_access_token,
    issue_bearer,
    issue_platform_key,
)
from openengagement.cli.common import (
    CLOCK,
    AppId,
    Json,
    fail,
    find_account,
    find_app,
    now_s,
    opened,
    show,
)
from openengagement.engagement.types import ID_MAX, snowflake
from openengagement.ingest.rows import is_screen_name
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.registry import Account, NameTaken

account = typer.Typer(help="The platform's users.", no_args_is_help=True)
token = typer.Typer(help="Access tokens and bearer tokens.", no_args_is_help=True)
platform_key = typer.Typer(help="The platform's own keys for sending events.", no_args_is_help=True)

SHOWN_ONCE = "Keep it now: it is stored only as a hash and cannot be shown again."


class Role(StrEnum):
    """What an account may do."""

    member = "member"
    manager = "manager"


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
            new = Account(chosen, screen_name, protected, Role.member.value)
            parts.registry.add_account(new, now_s=now_s())
            parts.registry.decisions.set_role(chosen, role.value, actor=COMMAND_LINE, now_s=now_s())
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


@account.command("role")
def set_role(
    context: typer.Context,
    screen_name: Annotated[
        str, typer.Argument(metavar="SCREEN_NAME", help="Whose role it becomes.")
    ],
    role: Annotated[Role, typer.Argument(help="A manager decides which apps may do what.")],
    json: Json = False,
) -> None:
    """Make an account a manager, or a member again, at once, on every worker."""
    with opened(context) as parts:
        known = find_account(parts, screen_name)
        parts.registry.decisions.set_role(known.id, role.value, actor=COMMAND_LINE, now_s=now_s())
    show({"screen_name": known.screen_name, "role": role.value}, as_json=json)


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
    from openengagement.sign_in.passwords import UnfitPassword, hash_password

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
