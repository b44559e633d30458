"""What every command shares: the data folder, `--json`, and how an error reaches the operator."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console

from openengagement.auth.credentials import KeyFileError
from openengagement.clock import Clock, SystemClock
from openengagement.registry.registry import App
from openengagement.server import Parts, open_parts
from openengagement.settings import Settings, SettingsError, load_settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
CLOCK: Clock = SystemClock()


def fail(text: str) -> NoReturn:
    """End the command with an error that says what to change."""
    Console(stderr=True, highlight=False).print(f"[red]error:[/red] {text}", soft_wrap=True)
    raise typer.Exit(1)


def read_settings() -> Settings:
    """The settings of the environment."""
    try:
        return load_settings(os.environ)
    except SettingsError as error:
        fail(str(error))


@contextmanager
def opened(context: typer.Context) -> Iterator[Parts]:
    """The data folder that the command works on, opened."""
    data: Path = context.obj
    try:
        parts = open_parts(data, read_settings(), clock=CLOCK)
    except (OSError, KeyFileError) as error:
        fail(f"{data}: {error}")
    try:
        yield parts
    finally:
        parts.close()


def now_s() -> int:
    """Now, in whole Unix seconds."""
    return int(CLOCK.now_s())


def find_app(parts: Parts, app_id: int) -> App:
    """An app by its App ID, or the end of the command."""
    app = parts.registry.read_app(app_id)
    if app is None:
        fail(f"there is no app with App ID {app_id}")
    return app


def show(fields: Mapping[str, Any], *, as_json: bool, notes: tuple[str, ...] = ()) -> None:
    """Print a result: one JSON object, or a line a field and notes for a person."""
    if as_json:
        typer.echo(msgspec.json.encode(fields).decode())
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        typer.echo(f"{name.ljust(width)}  {value}")
    for note in notes:
        Console(stderr=True, highlight=False).print(f"[dim]{note}[/dim]", soft_wrap=True)
