"""Gets an access token for another person's account by means of a PIN.

Run: python authorize_with_pin.py

Open the address that it prints, sign in, authorize the app, and type in the PIN. Put the two lines
that it prints into a copy of the app's `.env` file. The other samples then act for that person.
"""

from __future__ import annotations

import argparse
import sys

from credentials import add_env_option, read_credentials
from requests import RequestException
from requests_oauthlib import OAuth1Session
from requests_oauthlib.oauth1_session import TokenRequestDenied


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_env_option(parser)
    options = parser.parse_args()
    keys = read_credentials(options.env, "CONSUMER_KEY", "CONSUMER_SECRET")
    url = keys["ENGAGEMENT_API_URL"]
    # "oob", out of band: the app has no callback URL, so the person types in a PIN.
    session = OAuth1Session(
        keys["CONSUMER_KEY"], client_secret=keys["CONSUMER_SECRET"], callback_uri="oob"
    )
    try:
        session.fetch_request_token(f"{url}/oauth/request_token")
        print(f"Open {session.authorization_url(f'{url}/oauth/authorize')}", file=sys.stderr)
        token = exchange(session, f"{url}/oauth/access_token")
    except TokenRequestDenied as error:
        sys.exit(
            f"The server answered {error.status_code}: {error.response.text}\n"
            "If you denied the app, waited too long or guessed too often: run this again."
        )
    except RequestException as error:
        sys.exit(f"No answer from {url}: {error}")
    print(f"# @{token['screen_name']}")
    print(f"ACCESS_TOKEN={token['oauth_token']}")
    print(f"ACCESS_TOKEN_SECRET={token['oauth_token_secret']}")


def exchange(session: OAuth1Session, url: str) -> dict[str, str]:
    """Ask for the PIN, again after a mistyped one, until the server returns a token."""
    while True:
        print("PIN: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        try:
            return session.fetch_access_token(url, verifier=line.strip())
        except TokenRequestDenied as error:
            if not line or "oauth_verifier" not in error.response.text:
                raise
            print("That is not the PIN. Please check the digits.", file=sys.stderr)


if __name__ == "__main__":
    main()
