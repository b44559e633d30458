"""`openengagement serve`: start a server on a data folder."""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from openengagement.cli.common import Json, fail, open_folder, read_settings, show
from openengagement.cli.intake import check_intake
from openengagement.data_folder import DataFolder
from openengagement.limits.opening import open_limits
from openengagement.processes.certificate import verify_certificate
from openengagement.settings import (
    DATA_VARIABLE,
    ENV_PREFIX,
    SANDBOX_VARIABLE,
)

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
    log_format: Annotated[
        str | None, typer.Option(help="json, or text for a terminal; replaces the setting.")
    ] = None,
    intake: Annotated[
        str | None,
        typer.Option(
            help="direct, or log: publish batches of events to an event log; replaces the setting."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Serve the API until a signal (Ctrl-C) stops it."""
    _refuse_bad_certificate(tls_cert, tls_key)
    _replace_settings(LOG_FORMAT=log_format, INTAKE=intake)
    os.environ.pop(SANDBOX_VARIABLE, None)
    refuse_used_port(host, port)
    metrics = _check_metrics(port)
    check_intake(read_settings())
    # Create or migrate the folder once, before several workers open it.
    with open_folder(context) as folder:
        open_limits(context.obj, read_settings().registry).close()
        _report_callbacks(folder)
    scheme = "https" if tls_cert else "http"
    _announce(f"{scheme}://{host}:{port}", context.obj, workers=workers, as_json=json)
    options = {
        "--host": host,
        "--port": port,
        "--workers": workers,
        "--tls-cert": tls_cert and tls_cert.resolve(),
        "--tls-key": tls_key and tls_key.resolve(),
        "--metrics": metrics,
    }
    replace_process("supervisor", context.obj, options=options)


def _announce(url: str, data: Path, *, workers: int, as_json: bool) -> None:
    if as_json:
        show({"url": url, "workers": workers, "data": str(data)}, as_json=True)
    else:
        typer.echo(f"starting openengagement on {url} with the data folder {data}", err=True)


def _replace_settings(**options: str | None) -> None:
    """Set the settings that options replace in the environment, which all processes read."""
    for name, value in options.items():
        if value is not None:
            os.environ[f"{ENV_PREFIX}{name}"] = value


def _refuse_bad_certificate(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        fail("give --tls-cert and --tls-key together")
    if certificate is None or key is None:
        return
    try:
        verify_certificate(certificate, key)
    except OSError as error:
        fail(f"cannot use the certificate {certificate} with the key {key}: {error}")


def _check_metrics(port: int) -> str | None:
    """Return the address of the metrics, None for none; end the command if it cannot be used."""
    settings, name = read_settings(), f"{ENV_PREFIX}METRICS"
    if settings.metrics_address is None:
        return None
    if settings.metrics_address[1] == port:
        fail(f"{name}: choose another port than {port}, which --port names")
    check_metrics_address(settings.metrics_address, option=name)
    return settings.metrics


def check_metrics_address(address: tuple[str, int], *, option: str) -> None:
    """End the command if metrics cannot be served at an address, which `option` has chosen."""
    if sys.platform != "linux":
        fail(f"{option}: metrics need Linux")
    refuse_used_port(*address, option=option)


def _report_callbacks(folder: DataFolder) -> None:
    """Name the callback URLs that could no longer be registered. They keep working."""
    schemes = read_settings().allowed_callback_schemes
    for app_id, url in folder.registry.apps.list_callbacks():
        scheme = url.partition(":")[0].lower()
        if not schemes.allow(scheme):
            typer.echo(
                f"warning: app {app_id} has a callback URL with the scheme {scheme[:64]!r}, which "
                f"{ENV_PREFIX}CALLBACK_SCHEMES does not allow for new ones; it keeps working",
                err=True,
            )


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
