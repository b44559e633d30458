"""The processes of this product in a local cluster, and the balancer in front of them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from support.cli import EXECUTABLE, server_environment
from support.ports import HOST, free_port
from support.server_process import ServerFolder, ServerProcess

CADDYFILE = Path(__file__).parents[2] / "deploy" / "cluster" / "Caddyfile"
# No file outside its folder, no port but its own.
_CADDY_OPTIONS = f"{{\n\tadmin off\n\tskip_install_trust\n\tdefault_bind {HOST}\n}}\n"
ANSWER_S = 5


class CaddyMissing(Exception):
    """Caddy cannot run here. The text says why."""


def find_caddy() -> str:
    """Return the path of Caddy.

    Raises:
        CaddyMissing: it is not installed.
    """
    program = shutil.which("caddy")
    if not program:
        raise CaddyMissing("Caddy is not installed (Debian: apt-get install caddy)")
    return program


def answers(url: str, path: str) -> bool:
    """Return whether this path is answered with 200."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{url}{path}", timeout=ANSWER_S).status_code == 200
    except requests.RequestException:
        return False


@dataclass(frozen=True)
class Place:
    """Where a process runs: what its command begins with, and variables of its environment."""

    prefix: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def _options(settings: Mapping[str, str], place: Place) -> dict[str, Any]:
    return {"env": {**server_environment(settings), **place.environment}, "umask": 0o077}


class ApiNode(ServerProcess):
    """`openengagement serve` with the stores of the settings. `place` is where it runs."""

    def __init__(
        self, folder: ServerFolder, number: int, *, settings: Mapping[str, str], place: Place
    ) -> None:
        super().__init__(folder, f"api{number}", options=_options(settings, place))
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        data = folder.path / self.name
        listen = ["--host", HOST, "--port", self.port]
        self.command = [*place.prefix, EXECUTABLE, "--data", data, "serve", *listen]

    def is_ready(self) -> bool:
        return answers(self.url, "/readyz")


class ConsumerNode(ServerProcess):
    """`openengagement consume` with the stores of the settings."""

    def __init__(
        self,
        folder: ServerFolder,
        number: int,
        *,
        settings: Mapping[str, str],
        place: Place,
        url: str,
    ) -> None:
        super().__init__(folder, f"consumer{number}", options=_options(settings, place))
        data = folder.path / self.name
        self.command = [*place.prefix, EXECUTABLE, "--data", data, "consume", url]

    def start(self, *, wait: bool = True) -> None:
        self._began = len(self.log())
        super().start(wait=wait)

    def is_ready(self) -> bool:
        """Return whether it has connected to the log since its last start."""
        return "consumer_started" in self.log()[self._began :]


class Balancer(ServerProcess):
    """Caddy with deploy/cluster/Caddyfile."""

    def __init__(self, folder: ServerFolder, port: int, upstreams: Sequence[str]) -> None:
        self.url = f"http://{HOST}:{port}"
        own = folder.path / "caddy"
        file = folder.path / "Caddyfile"
        file.write_text(_CADDY_OPTIONS + CADDYFILE.read_text())
        environment = {
            **server_environment(),
            "HOME": str(own),
            "XDG_DATA_HOME": str(own / "data"),
            "XDG_CONFIG_HOME": str(own / "config"),
            "SITE": self.url,
            "UPSTREAMS": " ".join(upstreams),
        }
        command = [find_caddy(), "run", "--config", file, "--adapter", "caddyfile"]
        super().__init__(folder, "balancer", command=command, options={"env": environment})

    def is_ready(self) -> bool:
        return answers(self.url, "/readyz")
