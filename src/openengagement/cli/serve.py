"""Starting the server: Granian with one or more worker processes on one data folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from granian import Granian
from granian.constants import Interfaces

from openengagement.cli.common import fail, opened, read_settings
from openengagement.settings import DATA_VARIABLE

DEFAULT_PORT: Final = 8080
Port = Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")]


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 1,
    tls_cert: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate chain, PEM.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Its private key, PEM.")
    ] = None,
) -> None:
    """Serve the API until it is told to stop."""
    if (tls_cert is None) != (tls_key is None):
        fail("give --tls-cert and --tls-key together")
    with opened(context):
        pass  # made and migrated once, before workers start side by side
    scheme = "https" if tls_cert else "http"
    typer.echo(f"openengagement serves {context.obj} on {scheme}://{host}:{port}", err=True)
    run_server(context.obj, host=host, port=port, workers=workers, tls=(tls_cert, tls_key))


def run_server(
    data: Path,
    *,
    host: str,
    port: int,
    workers: int = 1,
    tls: tuple[Path | None, Path | None] = (None, None),
    on_startup: Callable[[], None] | None = None,
) -> None:
    """Run worker processes until a signal; they find the folder in the environment."""
    read_settings()
    os.environ[DATA_VARIABLE] = str(data.resolve())
    server = Granian(
        "openengagement.server:create_app",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=workers,
        websockets=False,
        log_access=False,
        log_enabled=False,
        ssl_cert=tls[0],
        ssl_key=tls[1],
        respawn_failed_workers=True,
    )
    if on_startup is not None:
        server.on_startup(on_startup)
    server.serve()
