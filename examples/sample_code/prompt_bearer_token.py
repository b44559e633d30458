"""Makes a bearer token from a key and secret that you type in, so that they are kept nowhere.

Run: python prompt_bearer_token.py [--url http://127.0.0.1:8080]
"""

from __future__ import annotations

import argparse
import getpass
import sys
from urllib.parse import quote

import requests
from credentials import DEFAULT_URL


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default=DEFAULT_URL, help="default: %(default)s")
    options = parser.parse_args()
    key, secret = ask("API key: "), ask("API secret: ")
    # Percent-encode key and secret before joining them: one may contain a colon.
    basic = (quote(key, safe=""), quote(secret, safe=""))
    try:
        response = requests.post(
            f"{options.url.rstrip('/')}/oauth2/token",
            auth=basic,
            data={"grant_type": "client_credentials"},
            timeout=60,
        )
    except requests.RequestException as error:
        sys.exit(f"No answer from {options.url}: {error}")
    if not response.ok:
        sys.exit(f"The server answered {response.status_code}: {response.text}")
    print(response.json()["access_token"])


def ask(prompt: str) -> str:
    """Read a line without showing it, or the next line of a pipe."""
    if sys.stdin.isatty():
        return getpass.getpass(prompt).strip()
    return sys.stdin.readline().strip()


if __name__ == "__main__":
    main()
