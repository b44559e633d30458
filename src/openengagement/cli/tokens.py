"""`openengagement token`: access tokens and bearer tokens."""

from typing import Annotated

import typer

from openengagement.auth.credentials import Granted, issue_access_token, issue_bearer
from openengagement.cli.common import (
    AppId,
    Json,
    fail,
    find_account,
    find_app,
    now_s,
    open_folder,
    show,
    show_rows,
    show_time,
)
from openengagement.engagement.types import ID_MAX

token = typer.Typer(help="Access tokens and bearer tokens.", no_args_is_help=True)


@token.command("issue")
def issue_token(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Print the access token and secret of the app's owner; the same pair each time."""
    with open_folder(context) as folder:
        app = find_app(folder, app_id)
        granted = Granted(app_id, app.owner_id, app.access_level)
        access_token, secret = issue_access_token(
            folder.registry, folder.keyring, granted=granted, now_s=now_s()
        )
    show({"access_token": access_token, "access_token_secret": secret}, as_json=json)


@token.command("bearer")
def bearer_token(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Print the app's bearer token; the same one until it is invalidated."""
    with open_folder(context) as folder:
        bearer = issue_bearer(folder.registry, folder.keyring, app=find_app(folder, app_id))
    show({"access_token": bearer}, as_json=json)


@token.command("list")
def list_tokens(
    context: typer.Context,
    app_id: Annotated[
        int | None, typer.Option("--app", metavar="APP_ID", min=1, max=ID_MAX, help="One app only.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(metavar="SCREEN_NAME", help="One account only.")
    ] = None,
    json: Json = False,
) -> None:
    """List the access tokens: the app, the account, and when it was last used. Print no secret."""
    with open_folder(context, existing=True) as folder:
        account_id = find_account(folder, account).id if account else None
        tokens = folder.registry.grants.list_tokens(app_id=app_id, account_id=account_id)
    rows = [
        {
            "app_id": str(each.app_id),
            "app": each.app,
            "account_id": str(each.account_id),
            "account": each.account,
            "access_level": each.access_level,
            "created_at": show_time(each.created_at_s),
            "last_used_at": show_time(each.last_used_s),
        }
        for each in tokens
    ]
    show_rows("access_tokens", rows, as_json=json)


@token.command("revoke")
def revoke_token(
    context: typer.Context,
    app_id: AppId,
    account: Annotated[
        str | None,
        typer.Option(metavar="SCREEN_NAME", help="Revoke the token that this account gave it."),
    ] = None,
    bearer: Annotated[bool, typer.Option("--bearer", help="Revoke its bearer token.")] = False,
    json: Json = False,
) -> None:
    """Revoke an app's access token of an account, or its bearer token, from the next request on."""
    if (account is None) == (not bearer):
        fail("name the token: --account SCREEN_NAME, or --bearer")
    with open_folder(context, existing=True) as folder:
        app = find_app(folder, app_id)
        if account is None:
            revoked = app.bearer_hash is not None
            folder.registry.apps.revoke_bearer(app_id)
        else:
            owner_id = find_account(folder, account).id
            grants = folder.registry.grants
            revoked = grants.revoke_access_token(app_id=app_id, account_id=owner_id)
    if not revoked:
        which = "bearer token" if bearer else f"access token of {account}"
        fail(f"app {app_id} has no {which}; see: openengagement token list --app {app_id}")
    kind = "bearer" if bearer else "access"
    fields = {"app_id": str(app_id), "revoked": kind}
    show(fields | ({"account": account} if account else {}), as_json=json)
