"""`sandbox --intercept`: let clients with built-in hosts reach a sandbox."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from openengagement.cli.common import CLOCK, fail, short
from openengagement.cli.serve import refuse_used_port, replace_process
from openengagement.files import write_private
from openengagement.sandbox.certificate_authority import (
    AuthorityError,
    Certificates,
    open_certificates,
)
from openengagement.sandbox.environment import client_environment, render_environment
from openengagement.sandbox.forward_proxy import HOSTS, LOOPBACK

DEFAULT_PROXY_PORT: Final = 8443
DEFAULT_HTTPS_PORT: Final = 8444

Intercept = Annotated[
    bool,
    typer.Option(
        "--intercept",
        help="Also answer as api.twitter.com, data-api.twitter.com and their x.com names, for "
        "clients with built-in hosts.",
    ),
]
ProxyPort = Annotated[
    int, typer.Option(min=1, max=65535, help="The port of the proxy for --intercept.")
]
HttpsPort = Annotated[
    int, typer.Option(min=1, max=65535, help="The port of HTTPS for --intercept.")
]


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of an intercepting sandbox: plain HTTP, HTTPS and the forward proxy."""

    plain: int
    https: int
    proxy: int

    def refuse_used_ports(self) -> None:
        """End the command if one of the ports is in use."""
        if len({self.plain, self.https, self.proxy}) < len(self.__slots__):
            fail("--port, --https-port and --intercept-port must differ")
        refuse_used_port(LOOPBACK, self.plain)
        refuse_used_port(LOOPBACK, self.https, option="--https-port")
        refuse_used_port(LOOPBACK, self.proxy, option="--intercept-port")


@dataclass(frozen=True, slots=True)
class Interception:
    """The certificates and ports of a sandbox, and the variables that its clients must set."""

    ports: Ports
    certificates: Certificates
    environment: dict[str, str]
    environment_file: Path

    def fields(self) -> dict[str, Any]:
        """Return the fields that `--json` prints."""
        return {
            "proxy": _proxy_url(self.ports),
            "hosts": list(HOSTS),
            "certificate_authority": str(self.certificates.authority),
            "environment": self.environment,
            "environment_file": str(self.environment_file),
        }

    def describe(self) -> str:
        """Return the same values as text for a person."""
        width = max(map(len, self.environment))
        lines = "".join(
            f"  {name.ljust(width)}  {value}\n" for name, value in self.environment.items()
        )
        return f"""
Clients with the built-in hosts {", ".join(HOSTS[:-1])}
or {HOSTS[-1]} reach this sandbox without a change, from a shell that reads this file:

  (. {shlex.quote(_path_to_source(self.environment_file))} && python your_client.py)

The file sets, for Python, Ruby, Go, Perl, PHP, Java, curl and Node (before Node 24, give the client
a proxy agent):

{lines}"""

    def serve(self, data: Path, ready: Mapping[str, object]) -> NoReturn:
        """Replace this process by `processes.sandbox_supervisor`; `ready` are more options."""
        options = {
            "--port": self.ports.plain,
            "--https-port": self.ports.https,
            "--intercept-port": self.ports.proxy,
            "--tls-cert": self.certificates.leaf,
            "--tls-key": self.certificates.leaf_key,
        }
        replace_process("sandbox_supervisor", data, options={**options, **ready})


def set_up_interception(folder: Path, ports: Ports) -> Interception:
    """Create the certificates and the environment file in a sandbox's folder."""
    folder = folder.resolve()
    now = datetime.fromtimestamp(CLOCK.now_s(), UTC)
    try:
        certificates = open_certificates(folder / "authority", HOSTS, now=now)
        environment = client_environment(
            _proxy_url(ports), certificates.authority, folder=folder / "intercept"
        )
    except (AuthorityError, OSError) as error:
        fail(str(error))
    file = write_private(folder / "intercept.env", render_environment(environment).encode())
    return Interception(ports, certificates, environment, file)


def _proxy_url(ports: Ports) -> str:
    return f"http://{LOOPBACK}:{ports.proxy}"


def _path_to_source(path: Path) -> str:
    """Return a path that a shell can source: it searches the PATH for a name without a slash."""
    name = short(path)
    return name if "/" in name else f"./{name}"
