"""Public totals of any Tweets, with the app's bearer token.

Run: python get_totals.py 1234567890 --types favorites,retweets
"""

from __future__ import annotations

import argparse
import json
import sys

import requests
from credentials import add_env_option, read_credentials

TYPES = "favorites,retweets,replies,quote_tweets,video_views"
GROUP_BY = "tweet.id,engagement.type"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tweet_ids", nargs="+", metavar="TWEET_ID")
    parser.add_argument("--types", default=TYPES, help="default: %(default)s")
    parser.add_argument("--group-by", default=GROUP_BY, help="default: %(default)s")
    add_env_option(parser)
    options = parser.parse_args()
    keys = read_credentials(options.env, "BEARER_TOKEN")
    question = {
        "tweet_ids": options.tweet_ids,
        "engagement_types": options.types.split(","),
        "groupings": {"grouping": {"group_by": options.group_by.split(",")}},
    }
    url = keys["ENGAGEMENT_API_URL"] + "/insights/engagement/totals"
    try:
        response = requests.post(
            url,
            json=question,
            headers={"Authorization": f"Bearer {keys['BEARER_TOKEN']}"},
            timeout=60,
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
        print(f"  {error}", file=sys.stderr)
    for header in ("x-error-code", "x-request-id"):
        print(f"  {header}: {response.headers.get(header, 'not given')}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
