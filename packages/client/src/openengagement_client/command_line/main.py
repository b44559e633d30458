"""The command `oe`: reads metrics and sends events. Needs `openengagement-client[cli]`."""

import sys

import typer

from openengagement_client.command_line.querying import query
from openengagement_client.command_line.sending import send
from openengagement_client.command_line.signing_in import login, logout
from openengagement_client.errors import EngagementError

app = typer.Typer(
    help="Read metrics from, and send events to, a server of the Engagement API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(query)
app.command()(send)
app.command()(login)
app.command()(logout)


def main() -> None:
    """Run the command. Errors of this package are one line on standard error, with status 1."""
    try:
        app()
    except EngagementError as error:
        print(f"oe: {error}", file=sys.stderr)
        sys.exit(1)
