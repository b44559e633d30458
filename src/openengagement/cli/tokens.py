"""`openengagement token`: access tokens and bearer tokens."""

import typer

from openengagement.auth.credentials import Granted, issue_access_token, issue_bearer
from openengagement.cli.common import AppId, Json, find_app, now_s, open_folder, show

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
