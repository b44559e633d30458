"""`openengagement serve`: start a server on a data folder."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from openengagement.cli.common import Json, fail, open_folder, show
from openengagement.settings import DATA_VARIABLE

DEFAULT_PORT: Final = 8080
Port = Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")]


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="The number of worker processes.")
    ] = 1,
    tls_cert: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The certificate chain, as PEM."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The private key of the certificate, as PEM."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Serve the API until a signal (Ctrl-C) stops it."""
    if (tls_cert is None) != (tls_key is None):
        fail("give --tls-cert and --tls-key together")
    refuse_used_port(host, port)
    with open_folder(context):
        pass  # create or migrate the folder once, before several workers open it
    scheme = "https" if tls_cert else "http"
    url = f"{scheme}://{host}:{port}"
    if json:
        show({"url": url, "workers": workers, "data": str(context.obj)}, as_json=True)
    else:
        typer.echo(f"openengagement serves {context.obj} on {url}", err=True)
    tls = (tls_cert.resolve(), tls_key.resolve()) if tls_cert and tls_key else None
    run_server(context.obj, (host, port), workers=workers, tls=tls)


def refuse_used_port(host: str, port: int, *, option: str = "--port") -> None:
    """End the command if the port is in use; `option` is the option that chooses the port.

    Workers share their port (SO_REUSEPORT), so a second server would silently receive some of the
    first one's requests. A socket without that option detects it.
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


def ready_options(text: Path, started_s: float | None) -> dict[str, object]:
    """Options for a supervisor: print the file `text` once the server answers.

    `started_s` is the monotonic time at which the command began. With it the supervisor also
    prints how long the start took.
    """
    return {"--ready-text": text, "--started-s": started_s}


def run_server(
    data: Path,
    address: tuple[str, int],
    *,
    workers: int = 1,
    tls: tuple[Path, Path] | None = None,
    ready: Mapping[str, object] = {},
) -> NoReturn:
    """Replace this process by a server (`processes.supervisor`) on (host, port).

    `tls` is the certificate chain and its key; `ready` comes from `ready_options`.
    """
    options = {
        "--host": address[0],
        "--port": address[1],
        "--workers": workers,
        "--tls-cert": tls and tls[0],
        "--tls-key": tls and tls[1],
    }
    replace_process("supervisor", data, options={**options, **ready})


def replace_process(module: str, data: Path, *, options: Mapping[str, object]) -> NoReturn:
    """Replace this process by a module of `processes`, to free the memory of the command.

    `data` is the data folder. An option whose value is None is left out.
    """
    os.environ[DATA_VARIABLE] = str(data.resolve())
    arguments = [str(part) for pair in options.items() if pair[1] is not None for part in pair]
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", f"openengagement.processes.{module}", *arguments]
    os.execv(sys.executable, command)  # noqa: S606
