"""Shared by all commands: the data folder, `--json`, and error messages."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from sqlalchemy.exc import DBAPIError

from openengagement.clock import Clock, SystemClock
from openengagement.damage import OnDamage, ignore_damage
from openengagement.data_folder import DataFolder, is_data_folder, open_data_folder
from openengagement.engagement.types import ID_MAX, format_time, parse_id
from openengagement.errors import StoreDamaged, StoreUnavailable, Unavailable
from openengagement.files import UnusableFile
from openengagement.registry.accounts import Account
from openengagement.registry.apps import App
from openengagement.settings import (
    DATA_VARIABLE,
    ENV_PREFIX,
    Settings,
    SettingsError,
    load_settings,
)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
AppId = Annotated[
    int,
    typer.Argument(metavar="APP_ID", min=1, max=ID_MAX, help="The App ID that `app add` printed."),
]
_SHOWN: dict[Any, str] = {True: "yes", False: "no", None: "default"}
_NONE_SHOWN = {"handles_contracted": "none"}  # this value has no default
CLOCK: Clock = SystemClock()


def fail(text: str) -> NoReturn:
    """Print an error that tells the operator what to change, and end the command."""
    typer.secho("error: ", fg=typer.colors.RED, nl=False, err=True)
    typer.echo(text, err=True)
    raise typer.Exit(1)


def read_settings() -> Settings:
    """Read the settings from the environment; end the command if one does not fit."""
    try:
        return load_settings(os.environ)
    except SettingsError as error:
        fail(str(error))


def refuse_shared_registry(command: str) -> None:
    """End a command that works on a whole data folder, if the registry is not in it."""
    if read_settings().registry:
        fail(
            f"{command} works on a folder with its own registry; unset {ENV_PREFIX}REGISTRY for it"
        )


@contextmanager
def open_folder(
    context: typer.Context,
    *,
    existing: bool = False,
    restoring: bool = False,
    on_damage: OnDamage = ignore_damage,
) -> Iterator[DataFolder]:
    """Open the command's data folder for the block. Failures end the command with a message.

    With `existing`, it must exist; otherwise it is created. Only the command that restores a backup
    sets `restoring`. All others are refused until it has finished.
    """
    data: Path = context.obj
    settings = read_settings()
    with failures_shown(data):
        if existing and not settings.registry and not is_data_folder(data):
            fail(
                f"{data.resolve()} is not a data folder; name the right one with --data or "
                f"{DATA_VARIABLE}. `serve` and `account add` create a new one"
            )
        with closing(
            open_data_folder(data, settings, clock=CLOCK, restoring=restoring, on_damage=on_damage)
        ) as folder:
            yield folder


def refuse_missing_folder(data: Path) -> None:
    """End a command that works on the files of a data folder, if there is no such folder."""
    with failures_shown(data):
        if not data.is_dir():
            fail(f"{data} is not a folder; name the data folder with --data")


@contextmanager
def failures_shown(data: Path) -> Iterator[None]:
    """End the command with one sentence if the data folder cannot be used in the block."""
    try:
        yield
    except OSError as error:
        fail(f"{error.filename or data}: {error.strerror or error}")
    except UnusableFile as error:
        fail(str(error))
    except StoreDamaged as error:
        fail(f"{data}: {error}")
    except StoreUnavailable as error:
        fail(f"{data}: {error}; try again later")
    except Unavailable as error:
        fail(f"{data}: {error}")
    except DBAPIError as error:
        fail(f"{data}: the registry cannot be used: {error.orig}")


def short(path: Path) -> str:
    """Return the path relative to the working folder if it is inside it, without following links.

    The Python of a virtual environment is a link and must stay one.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def now_s() -> int:
    """Return the current time in whole Unix seconds."""
    return int(CLOCK.now_s())


def find_app(folder: DataFolder, app_id: int) -> App:
    """Return an app by its App ID; end the command if there is none."""
    app = folder.registry.apps.read_app(app_id)
    if app is None:
        fail(f"there is no app with App ID {app_id}")
    return app


def find_account_id(folder: DataFolder, text: str) -> int:
    """Return the id of the account with this screen name, or else the id that the text is.

    Accounts that are not registered any more have only an id. End the command if it is neither.
    """
    account = folder.registry.accounts.find_account(text)
    if account is not None:
        return account.id
    try:
        return parse_id(text)
    except ValueError:
        fail(f"there is no account {text}; see: openengagement account list")


def confirm(question: str, *, yes: bool) -> None:
    """End the command unless `yes` is true or a person answers yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("add --yes to confirm; there is no terminal to ask at")
    typer.confirm(question, abort=True, err=True)


def find_account(folder: DataFolder, screen_name: str) -> Account:
    """Return an account by its screen name; end the command if there is none."""
    account = folder.registry.accounts.find_account(screen_name)
    if account is None:
        fail(
            f"there is no account {screen_name}; "
            f"add it with: openengagement account add {screen_name}"
        )
    return account


def show_time(time_s: float | None) -> str | None:
    """Format a time in Unix seconds, None if there is none."""
    return None if time_s is None else format_time(int(time_s))


def show_rows(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    empty: str = "",
    **fields: object,
) -> None:
    """Print a list: one JSON object with `fields` and the rows under `name`, or aligned columns.

    The first line of the columns has their names, in upper case. `empty` says that there are none.
    """
    if as_json:
        typer.echo(msgspec.json.encode({**fields, name: rows}).decode())
        return
    if not rows:
        typer.secho(empty or f"There are no {name.replace('_', ' ')}.", dim=True, err=True)
        return
    table = [[column.upper() for column in rows[0]]]
    table += [[_as_cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _as_cell(value: object) -> str:
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def show(fields: Mapping[str, Any], *, as_json: bool, notes: tuple[str, ...] = ()) -> None:
    """Print a result: one JSON object, or for a person one line per field, then the notes."""
    if as_json:
        typer.echo(msgspec.json.encode(fields).decode())
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        shown = _SHOWN[value] if value is None or isinstance(value, bool) else value
        if value is None:
            shown = _NONE_SHOWN.get(name, shown)
        typer.echo(f"{name.ljust(width)}  {shown}")
    for note in notes:
        typer.secho(note, dim=True, err=True)
