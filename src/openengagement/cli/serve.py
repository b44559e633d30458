"""Starting the server: Granian with one or more worker processes on one data folder."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from openengagement.cli.common import Json, fail, opened, show
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
    json: Json = False,
) -> None:
    """Serve the API until it is told to stop."""
    if (tls_cert is None) != (tls_key is None):
        fail("give --tls-cert and --tls-key together")
    refuse_taken(host, port)
    with opened(context):
        pass  # made and migrated once, before workers start side by side
    scheme = "https" if tls_cert else "http"
    url = f"{scheme}://{host}:{port}"
    if json:
        show({"url": url, "workers": workers, "data": str(context.obj)}, as_json=True)
    else:
        typer.echo(f"openengagement begins to serve {context.obj} on {url}", err=True)
    tls = (tls_cert.resolve(), tls_key.resolve()) if tls_cert and tls_key else None
    run_server(context.obj, (host, port), workers=workers, tls=tls)


def refuse_taken(host: str, port: int, *, option: str = "--port") -> None:
    """End the command when the port, which that option chooses, is in use.

    The workers share theirs (SO_REUSEPORT), so a second server would quietly take part of the
    first one's requests. A socket that does not share finds out.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        fail(f"cannot listen on {host} port {port}: {error.strerror}; choose another with {option}")


def run_server(
    data: Path,
    address: tuple[str, int],
    *,
    workers: int = 1,
    tls: tuple[Path, Path] | None = None,
    announce: tuple[Path | None, float | None] = (None, None),
) -> NoReturn:
    """Become the server (`processes.supervisor`) on (host, port): same process, fresh memory.

    `announce` is a text to print once it answers, and when, on the monotonic clock, it all began.
    """
    options = {
        "--host": address[0],
        "--port": address[1],
        "--workers": workers,
        "--tls-cert": tls and tls[0],
        "--tls-key": tls and tls[1],
        "--announce": announce[0],
        "--since": announce[1],
    }
    become("supervisor", data, options=options)


def become(module: str, data: Path, *, options: Mapping[str, object]) -> NoReturn:
    """Continue as a module of `processes`, on this data folder; an option of None is not given."""
    os.environ[DATA_VARIABLE] = str(data.resolve())
    given = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", f"openengagement.processes.{module}", *given]
    os.execv(sys.executable, command)  # noqa: S606
