"""`openengagement platform-key`: the keys with which the platform itself calls the server."""

from typing import Annotated

import typer

from openengagement.auth.credentials import issue_platform_key
from openengagement.cli.common import Json, now_s, open_folder, show

platform_key = typer.Typer(
    help="The platform's own keys, for sending events.", no_args_is_help=True
)

ONE_TIME = "Save it now: only its hash is stored, so it cannot be shown again."


@platform_key.command("issue")
def issue_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that says its purpose.")],
    json: Json = False,
) -> None:
    """Issue a key for sending events and for registering accounts and Tweets."""
    with open_folder(context) as folder:
        key = issue_platform_key(folder.registry, name=name, now_s=now_s())
    show({"platform_key": key}, as_json=json, notes=(ONE_TIME,))
