"""Gets an access token for somebody's account, who carries a PIN from their browser to here.

Run: python authorize_with_pin.py

Open the address it prints, sign in, authorize the app, and type in the PIN you are shown. Put what
it prints into a `.env` file, and the other samples act for that account.
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
    # "oob", out of band: the app cannot be called back, so a person carries the proof.
    session = OAuth1Session(
        keys["CONSUMER_KEY"], client_secret=keys["CONSUMER_SECRET"], callback_uri="oob"
    )
    try:
        session.fetch_request_token(f"{url}/oauth/request_token")
        print(f"Open {session.authorization_url(f'{url}/oauth/authorize')}", file=sys.stderr)
        print("PIN: ", end="", file=sys.stderr, flush=True)
        pin = sys.stdin.readline().strip()
        token = session.fetch_access_token(f"{url}/oauth/access_token", verifier=pin)
    except TokenRequestDenied as error:
        sys.exit(f"The server answered {error.status_code}: {error.response.text}")
    except RequestException as error:
        sys.exit(f"No answer from {url}: {error}")
    print(f"# @{token['screen_name']}")
    print(f"ACCESS_TOKEN={token['oauth_token']}")
    print(f"ACCESS_TOKEN_SECRET={token['oauth_token_secret']}")


if __name__ == "__main__":
    main()
