"""`openengagement cluster`: set up the databases that several servers share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from openengagement.cli.common import Json, fail, failures_shown, read_settings, show
from openengagement.limits.opening import init_limits
from openengagement.registry.migrate import HEAD
from openengagement.registry.opening import init_registry
from openengagement.settings import ENV_PREFIX
from openengagement.stores.opening import init_stores, read_status

cluster = typer.Typer(help="Set up the databases that several servers share.", no_args_is_help=True)

_FIGURES: Final = ("counters", "parts", "queued", "lag_s")
_COLUMNS: Final = ("shard", "server", "state", "rows", "parts", "queued", "lag s")
_KINDS: Final = ("insert", "sync", "read")


@cluster.command("init")
def init(context: typer.Context, json: Json = False) -> None:
    """Create the tables in the databases of the settings, or upgrade them. It may be repeated.

    Stop servers of an older version before an upgrade.
    """
    data: Path = context.obj
    settings = read_settings()
    if not settings.registry:
        fail(f"set {ENV_PREFIX}REGISTRY to the URL of a database of PostgreSQL")
    with failures_shown(data):
        # First: if it refuses the tables of an earlier version, that version must still work.
        shards = init_stores(settings) if settings.store else 0
        init_registry(settings.registry)
        init_limits(settings.registry)
    show({"registry": HEAD, "shards": shards}, as_json=json)


@cluster.command("status")
def status(context: typer.Context, json: Json = False) -> None:
    """Ask every server of ClickHouse for its state. Say what does not answer, lags or is full.

    Exits with 1 if anything is wrong.
    """
    data: Path = context.obj
    settings = read_settings()
    if not settings.store:
        fail(f"set {ENV_PREFIX}STORE to the URL of a ClickHouse cluster")
    with failures_shown(data):
        found = read_status(settings)
    summary = {name: value for name, value in found.items() if name != "replicas"}
    if json:
        show(found, as_json=True)
    else:
        problems = summary.pop("problems")
        show(summary, as_json=False)
        Console().print(_table(found["replicas"]))
        for problem in problems:
            typer.secho(problem, fg=typer.colors.RED)
    if not found["healthy"]:
        raise typer.Exit(1)


def _table(replicas: list[Mapping[str, Any]]) -> Table:
    """Make a table with a row for each replica. Times are the mean and the longest of a minute."""
    table = Table(*_COLUMNS, *(f"{kind} ms" for kind in _KINDS), box=None)
    for each in replicas:
        figures = [each[name] for name in _FIGURES]
        times = [each["queries"].get(kind) for kind in _KINDS]
        table.add_row(
            f"{each['shard']}.{each['replica']}",
            each["server"],
            each["state"] if each["answers"] else "does not answer",
            *("-" if value is None else str(value) for value in figures),
            *("-" if time is None else f"{time['mean_ms']} / {time['max_ms']}" for time in times),
        )
    return table
