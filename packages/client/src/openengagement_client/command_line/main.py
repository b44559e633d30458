"""The command `oe`: reads metrics and sends events. Needs `openengagement-client[cli]`."""

import os
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from openengagement_client.command_line.printing import printable
from openengagement_client.command_line.querying import query
from openengagement_client.command_line.sending import register, send
from openengagement_client.command_line.signing_in import login, logout
from openengagement_client.errors import EngagementError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"openengagement-client {version('openengagement-client')}")
        raise typer.Exit


@app.callback()
def _begin(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Read metrics from, and send events to, a server of the Engagement API."""


app.command()(query)
app.command()(send)
app.command()(register)
app.command()(login)
app.command()(logout)


def main() -> None:
    """Run the command. Its errors are one line on standard error, with status 1."""
    try:
        app()
    except EngagementError as error:
        _fail(str(error))
    except BrokenPipeError:  # `oe ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except UnicodeDecodeError:
        _fail("the list of Tweets is not text in UTF-8")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")


def _fail(text: str) -> NoReturn:
    print(f"oe: {printable(text)}", file=sys.stderr)
    sys.exit(1)
