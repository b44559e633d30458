"""`sandbox --intercept`: what clients whose hosts are hard-coded need to reach a sandbox."""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from openengagement.cli.common import CLOCK, fail, short
from openengagement.cli.serve import become, refuse_taken
from openengagement.files import write_private
from openengagement.sandbox.authority import AuthorityError, Certificates, open_certificates
from openengagement.sandbox.environment import client_environment, render_environment
from openengagement.sandbox.intercept import HOSTS, LOOPBACK

DEFAULT_PROXY_PORT: Final = 8443
DEFAULT_HTTPS_PORT: Final = 8444

Intercept = Annotated[
    bool,
    typer.Option(
        "--intercept",
        help="Answer as api.twitter.com, data-api.twitter.com and their x.com names too, for "
        "clients whose hosts are built in.",
    ),
]
ProxyPort = Annotated[
    int, typer.Option(min=1, max=65535, help="The port of the proxy of --intercept.")
]
HttpsPort = Annotated[int, typer.Option(min=1, max=65535, help="The port of HTTPS of --intercept.")]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where an intercepting sandbox listens: plain HTTP, HTTPS, and the proxy that leads to it."""

    plain: int
    https: int
    proxy: int

    def refuse_taken(self) -> None:
        """End the command when one of them cannot be had."""
        if len({self.plain, self.https, self.proxy}) < len(self.__slots__):
            fail("--port, --https-port and --intercept-port must differ")
        refuse_taken(LOOPBACK, self.plain)
        refuse_taken(LOOPBACK, self.https, option="--https-port")
        refuse_taken(LOOPBACK, self.proxy, option="--intercept-port")


@dataclass(frozen=True, slots=True)
class Interception:
    """A sandbox's certificates and ports, and the file with what clients must have set."""

    ports: Ports
    certificates: Certificates
    environment: dict[str, str]
    environment_file: Path

    def fields(self) -> dict[str, Any]:
        """What `--json` prints of it."""
        return {
            "proxy": _proxy_url(self.ports),
            "hosts": list(HOSTS),
            "certificate_authority": str(self.certificates.authority),
            "environment": self.environment,
            "environment_file": str(self.environment_file),
        }

    def describe(self) -> str:
        """The same for a person."""
        width = max(map(len, self.environment))
        lines = "".join(
            f"  {name.ljust(width)}  {value}\n" for name, value in self.environment.items()
        )
        return f"""
Clients that have {", ".join(HOSTS[:-1])}
or {HOSTS[-1]} built in reach it unchanged, in a shell of their own:

  (. {shlex.quote(_sourced(self.environment_file))} && python your_client.py)

The file sets, for Python, Ruby, curl and Node (before Node 24, give the client a proxy agent):

{lines}"""

    def serve(self, data: Path, announcement: Path, *, since: float | None) -> NoReturn:
        """Become the process that keeps it all (`processes.sandbox_supervisor`)."""
        options = {
            "--port": self.ports.plain,
            "--https-port": self.ports.https,
            "--intercept-port": self.ports.proxy,
            "--tls-cert": self.certificates.leaf,
            "--tls-key": self.certificates.leaf_key,
            "--announce": announcement,
            "--since": since,
        }
        become("sandbox_supervisor", data, options=options)


def set_up_interception(folder: Path, ports: Ports) -> Interception:
    """Make ready, in a sandbox's folder, what is not there from the last start."""
    folder = folder.resolve()
    now = datetime.fromtimestamp(CLOCK.now_s(), UTC)
    try:
        certificates = open_certificates(folder / "authority", HOSTS, now=now)
    except (AuthorityError, OSError) as error:
        fail(str(error))
    environment = client_environment(_proxy_url(ports), certificates.authority)
    file = write_private(folder / "intercept.env", render_environment(environment).encode())
    return Interception(ports, certificates, environment, file)


def _proxy_url(ports: Ports) -> str:
    return f"http://{LOOPBACK}:{ports.proxy}"


def _sourced(path: Path) -> str:
    """A file as a shell finds it: a name without a slash would be looked for on the PATH."""
    name = short(path)
    return name if "/" in name else f"./{name}"
