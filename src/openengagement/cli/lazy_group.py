"""A group of commands that imports a command when it is used.

`--version`, `--help` and each command then import only what they need: all modules of the command
line take a second.
"""

import gc
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final, NamedTuple, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

_PACKAGE: Final = "openengagement.cli"


class Lazy(NamedTuple):
    """A command: its module in this package, the name of the function or group there, its help."""

    module: str
    name: str
    help: str


COMMANDS: Final[Mapping[str, Lazy]] = {
    "serve": Lazy("serve", "serve", "Serve the API until a signal (Ctrl-C) stops it."),
    "sandbox": Lazy(
        "sandbox",
        "sandbox",
        "Serve a sandbox: four weeks of engagement, demo credentials, and commands to paste.",
    ),
    "status": Lazy(
        "status",
        "status",
        "Show what the data folder and its databases hold, and how many servers run on the folder.",
    ),
    "doctor": Lazy(
        "doctor",
        "doctor",
        "Look for mistakes in settings, data folder, disk and accounts. Servers may be running.",
    ),
    "load": Lazy(
        "load",
        "load",
        "Load files: .ndjson .jsonl .json .csv .parquet .arrow, also with .gz or .zst.",
    ),
    "consume": Lazy(
        "consume",
        "consume",
        "Count the events of a NATS JetStream stream or a Kafka topic, each exactly once.",
    ),
    "move": Lazy(
        "move",
        "move",
        "Move everything from a data folder to a cluster, or back. Servers of the source may run.",
    ),
    "usage": Lazy(
        "usage",
        "usage",
        "List the requests and handles of every app in a month, as the contracts count them.",
    ),
    "backup": Lazy(
        "maintenance",
        "backup",
        "Copy the data folder as it is at this moment. Servers may be running.",
    ),
    "restore": Lazy(
        "restore",
        "restore",
        "Copy a backup into the data folder, which must be empty or missing, and verify the copy.",
    ),
    "prune": Lazy(
        "maintenance",
        "prune",
        "Delete hourly counts that are older than the given days; keep totals. Servers may be "
        "running.",
    ),
    "check": Lazy(
        "check", "check", "Verify every file of the data folder. Servers may be running."
    ),
    "account": Lazy("accounts", "account", "The platform's users."),
    "app": Lazy("apps", "app", "Developers' applications."),
    "token": Lazy("tokens", "token", "Access tokens and bearer tokens."),
    "platform-key": Lazy(
        "platform_keys", "platform_key", "The platform's own keys, for sending events."
    ),
    "webhook": Lazy(
        "webhooks", "webhook", "Webhooks that tell managers what happened (docs/webhooks.md)."
    ),
    "key": Lazy("keys", "key", "The keys that encrypt stored secrets."),
    "cluster": Lazy("cluster", "cluster", "Set up the databases that several servers share."),
}


Command = TyperCommand | TyperGroup


class _Commands(Mapping[str, Command]):
    """The commands by their names. A lookup imports the command."""

    def __getitem__(self, name: str) -> Command:
        return _load(name, COMMANDS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(TyperGroup):
    """The group of COMMANDS."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of the library
        super().__init__(**options)
        self.commands: Any = _Commands()

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - the library's
        """Write the help of this group, without importing any command."""
        loaded = self.commands
        self.commands = {
            name: TyperCommand(name, help=lazy.help) for name, lazy in COMMANDS.items()
        }
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = loaded


@cache
def _load(name: str, lazy: Lazy) -> Command:
    """Import a command, or a group of commands."""
    gc.disable()  # as in `__main__`
    found = getattr(import_module(f"{_PACKAGE}.{lazy.module}"), lazy.name)
    gc.freeze()
    gc.enable()
    if isinstance(found, typer.Typer):
        command: Command = get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        command = cast("TyperCommand", get_command(alone))
    command.name = name
    return command
