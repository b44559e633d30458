"""`openengagement cluster`: set up the databases that several servers share."""

from pathlib import Path

import typer

from openengagement.cli.common import Json, fail, failures_shown, read_settings, show
from openengagement.limits.opening import init_limits
from openengagement.registry.migrate import HEAD
from openengagement.registry.opening import init_registry
from openengagement.settings import ENV_PREFIX

cluster = typer.Typer(help="Set up the databases that several servers share.", no_args_is_help=True)


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
        init_registry(settings.registry)
        init_limits(settings.registry)
    show({"registry": HEAD}, as_json=json)
