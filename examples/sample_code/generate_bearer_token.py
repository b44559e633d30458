"""Makes the app's bearer token from its key and secret.

Run: python generate_bearer_token.py

Put the `access_token` of the answer into `.env` as BEARER_TOKEN. It stays the same until it is
invalidated.
"""

from __future__ import annotations

import argparse
import json
import sys
from urllib.parse import quote

import requests
from credentials import add_env_option, read_credentials


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_env_option(parser)
    options = parser.parse_args()
    keys = read_credentials(options.env, "CONSUMER_KEY", "CONSUMER_SECRET")
    url = keys["ENGAGEMENT_API_URL"] + "/oauth2/token"
    # Percent-encode key and secret before joining them: one may contain a colon.
    basic = (quote(keys["CONSUMER_KEY"], safe=""), quote(keys["CONSUMER_SECRET"], safe=""))
    try:
        response = requests.post(
            url, auth=basic, data={"grant_type": "client_credentials"}, timeout=60
        )
    except requests.RequestException as error:
        sys.exit(f"No answer from {url}: {error}")
    show(response)


def show(response: requests.Response) -> None:
    """Print the answer, or say what went wrong and stop."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if response.ok and body:
        print(json.dumps(body, indent=2))
        return
    # A proxy in front of the server may answer in another format.
    errors = body.get("errors", []) if isinstance(body, dict) else []
    print(f"The server answered {response.status_code} {response.reason}.", file=sys.stderr)
    for error in errors:
        print(f"  {error.get('message') if isinstance(error, dict) else error}", file=sys.stderr)
    for header in ("x-error-code", "x-request-id"):
        print(f"  {header}: {response.headers.get(header, 'not given')}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
