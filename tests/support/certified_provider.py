"""A certified OpenID Connect provider (npm's oidc-provider) in its own process."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import HOST, free_port
from support.server import Server
from support.waiting import PATIENCE_S

SCRIPT = Path(__file__).parents[1] / "interop" / "openid_provider.mjs"
PACKAGE = SCRIPT.parent / "node_modules" / "oidc-provider"
NODE = shutil.which("node")
SECRET = "made up: with + and % in it"


class CertifiedProvider:
    """The provider. Its host differs from the server's, so that browsers see two sites."""

    def __init__(self, *, way: str = "client_secret_basic", alg: str = "RS256") -> None:
        self.port = free_port()
        self.issuer = f"http://localhost:{self.port}"
        self.way = way
        self.alg = alg

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which the server uses this provider."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": "engagement",
            "oidc_client_secret": SECRET,
            "oidc_name": "Harbour ID",
        }

    @contextmanager
    def serve(self, server: Server) -> Iterator[None]:
        """Run the provider for the accounts of this server."""
        assert NODE, "node is not installed"
        process = subprocess.Popen(
            [NODE, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # warnings about its default configuration
            text=True,
        )
        told = {
            "port": self.port,
            "issuer": self.issuer,
            "redirectUris": [f"{server.url}/sign-in/oidc/callback"],
            "secret": SECRET,
            "way": self.way,
            "alg": self.alg,
        }
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n", f"{HOST}:{self.port} does not start"
            yield
        finally:
            process.stdin.close()
            process.wait(PATIENCE_S)
            process.stdout.close()
