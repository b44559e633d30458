"""Up to four weeks of the user's own Tweets, day by day, signed with OAuth 1.0a.

Run: python get_historical.py 1234567890 --start 2026-11-01 --end 2026-11-08
"""

from __future__ import annotations

import argparse
import json
import sys

import requests
from credentials import add_env_option, read_credentials
from requests_oauthlib import OAuth1

TYPES = "impressions,engagements,favorites"
GROUP_BY = "tweet.id,engagement.type,engagement.day"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tweet_ids", nargs="+", metavar="TWEET_ID")
    parser.add_argument("--types", default=TYPES, help="default: %(default)s")
    parser.add_argument("--group-by", default=GROUP_BY, help="default: %(default)s")
    parser.add_argument("--start", help="UTC, such as 2026-11-01T00:00:00Z or 2026-11-01")
    parser.add_argument("--end", help="UTC; at most four weeks after the start")
    add_env_option(parser)
    options = parser.parse_args()
    keys = read_credentials(
        options.env, "CONSUMER_KEY", "CONSUMER_SECRET", "ACCESS_TOKEN", "ACCESS_TOKEN_SECRET"
    )
    # Only the header and the URL are signed; a JSON body is not part of an OAuth 1.0a signature.
    auth = OAuth1(
        keys["CONSUMER_KEY"],
        keys["CONSUMER_SECRET"],
        keys["ACCESS_TOKEN"],
        keys["ACCESS_TOKEN_SECRET"],
    )
    question = {
        "tweet_ids": options.tweet_ids,
        "engagement_types": options.types.split(","),
        "groupings": {"grouping": {"group_by": options.group_by.split(",")}},
    }
    # Without dates the server uses the last four weeks.
    if options.start:
        question["start"] = options.start
    if options.end:
        question["end"] = options.end
    url = keys["ENGAGEMENT_API_URL"] + "/insights/engagement/historical"
    try:
        response = requests.post(url, json=question, auth=auth, timeout=60)
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
