"""The environment variables with which an unmodified client reaches an intercepting sandbox."""

import shlex
from pathlib import Path
from typing import Final

_HEAD: Final = """\
# Source this file in a shell. Clients of Twitter's API then reach the sandbox instead, through its
# forward proxy. The proxy refuses all other hosts. Requests to this machine do not use the proxy.
"""
_THIS_MACHINE: Final = "localhost,127.0.0.1,::1"


def client_environment(proxy: str, authority: Path) -> dict[str, str]:
    """Return the variables by name: the proxy's URL, and the authority's certificate file (PEM).

    Tools use different variables for the certificate. Some tools read the proxy variables in lower
    case only, or first. Ruby's Net::HTTP uses `http_proxy` for https:// URLs too.
    """
    certificate = str(authority)
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "http_proxy": proxy,
        "NO_PROXY": _THIS_MACHINE,
        "no_proxy": _THIS_MACHINE,
        "REQUESTS_CA_BUNDLE": certificate,  # Python's requests
        "SSL_CERT_FILE": certificate,  # Ruby, Python's ssl and httpx
        "CURL_CA_BUNDLE": certificate,  # curl
        "NODE_EXTRA_CA_CERTS": certificate,  # Node
        "NODE_USE_ENV_PROXY": "1",  # Node 24 and newer; older ones need a proxy agent
    }


def render_environment(variables: dict[str, str]) -> str:
    """Return the variables as a file that a shell can source."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return _HEAD + "".join(lines)
