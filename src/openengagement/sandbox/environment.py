"""What an unmodified client needs in its environment to reach an intercepting sandbox."""

import shlex
from pathlib import Path
from typing import Final

_HEAD: Final = """\
# For a shell in which clients of the original talk to the sandbox instead. What they send goes
# through the sandbox's proxy, which refuses all hosts but the original's; this machine is left out.
"""
_THIS_MACHINE: Final = "localhost,127.0.0.1,::1"


def client_environment(proxy: str, authority: Path) -> dict[str, str]:
    """The variables by name: the proxy's URL, and the certificate (PEM) of the one authority.

    Each tool has its own variable for the latter, and some read the others in small letters only,
    or first. Ruby's Net::HTTP asks `http_proxy` for https:// too.
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
        "NODE_USE_ENV_PROXY": "1",  # Node from 24 on; before it, a client brings a proxy agent
    }


def render_environment(variables: dict[str, str]) -> str:
    """The same as a file for a shell to source."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return _HEAD + "".join(lines)
