"""The command line: `openengagement [--data DIR] COMMAND`."""

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from openengagement.cli import accounts, apps, cluster, keys, platform_keys, tokens, webhooks
from openengagement.cli.check import check
from openengagement.cli.consume import consume
from openengagement.cli.doctor import doctor
from openengagement.cli.load import load
from openengagement.cli.maintenance import backup, prune
from openengagement.cli.move import move
from openengagement.cli.restore import restore
from openengagement.cli.sandbox import sandbox
from openengagement.cli.serve import serve
from openengagement.cli.status import status
from openengagement.cli.usage import usage
from openengagement.settings import DATA_VARIABLE

main = typer.Typer(
    name="openengagement",
    help="A self-hosted engagement-metrics service on the wire of Twitter's Engagement API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"openengagement {version('openengagement')}")
        raise typer.Exit


@main.callback()
def choose_folder(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option("--data", envvar=DATA_VARIABLE, file_okay=False, help="The data folder.")
    ] = Path("data"),
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A self-hosted engagement-metrics service on the wire of Twitter's Engagement API."""
    os.umask(0o077)  # only this user may read the files that a command writes
    context.obj = data


main.command("serve")(serve)
main.command("sandbox")(sandbox)
main.command("status")(status)
main.command("doctor")(doctor)
main.command("load")(load)
main.command("consume")(consume)
main.command("move")(move)
main.command("usage")(usage)
main.command("backup")(backup)
main.command("restore")(restore)
main.command("prune")(prune)
main.command("check")(check)
main.add_typer(accounts.account, name="account")
main.add_typer(apps.app, name="app")
main.add_typer(tokens.token, name="token")
main.add_typer(platform_keys.platform_key, name="platform-key")
main.add_typer(webhooks.webhook, name="webhook")
main.add_typer(keys.key, name="key")
main.add_typer(cluster.cluster, name="cluster")
