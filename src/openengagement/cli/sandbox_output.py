"""What a sandbox prints: credentials, and commands to paste."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any, Final

from openengagement.cli.common import short
from openengagement.sandbox.demo import Demo

_SAMPLES: Final = Path("examples/sample_code")


def demo_fields(demo: Demo) -> dict[str, Any]:
    """Return the values as JSON has them: ids as text."""
    return dataclasses.asdict(demo) | {
        "app_id": str(demo.app_id),
        "tweet_ids": [str(tweet_id) for tweet_id in demo.tweet_ids],
        "other_tweet_id": None if demo.other_tweet_id is None else str(demo.other_tweet_id),
    }


def make_environment(demo: Demo, url: str) -> str:
    """Return the `.env` file of the sample code for the server at this URL."""
    lines = {
        "ENGAGEMENT_API_URL": url,
        "CONSUMER_KEY": demo.consumer_key,
        "CONSUMER_SECRET": demo.consumer_secret,
        "ACCESS_TOKEN": demo.access_token,
        "ACCESS_TOKEN_SECRET": demo.access_token_secret,
        "BEARER_TOKEN": demo.bearer_token,
        "PLATFORM_KEY": demo.platform_key,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def describe_demo(demo: Demo, url: str, *, environment: Path, higgs: Path | None) -> str:
    """Return the credentials, and commands to paste.

    `environment` is the file of `make_environment`. `higgs` is that of the week, None for a
    simulated one.
    """
    body = (
        f'{{"tweet_ids":["{demo.other_tweet_id or "TWEET_ID"}"],'
        '"engagement_types":["favorites","retweets","replies"],'
        '"groupings":{"by tweet":{"group_by":["tweet.id","engagement.type"]}}}'
    )
    python = shlex.quote(short(Path(sys.executable)))
    ids = " ".join(map(str, demo.tweet_ids[:2])) or "TWEET_ID"
    sample = f"{python} {_SAMPLES}/{{}}.py --env {shlex.quote(short(environment))} {ids}"
    return f"""{_label(demo, higgs)}

  owner                @{demo.screen_name}
  App ID               {demo.app_id} (enabled)
  consumer key         {demo.consumer_key}
  consumer secret      {demo.consumer_secret}
  access token         {demo.access_token}
  access token secret  {demo.access_token_secret}
  bearer token         {demo.bearer_token}
  platform key         {demo.platform_key}
  callback URL         {demo.callback} (/portal changes it)
  sign-in password     {demo.password}
  as a .env file       {short(environment)}

Public totals of any Tweet, with the bearer token:

  curl --compressed {url}/insights/engagement/totals \\
    -H 'Authorization: Bearer {demo.bearer_token}' \\
    -H 'Content-Type: application/json' \\
    -d '{body}'

The owner's last 28 hours, and four weeks, signed with OAuth 1.0a (from a checkout):

  {sample.format("get_28hr")}
  {sample.format("get_historical")}

Pages: {url} shows how the owner's Tweets do, /explore has charts, /portal creates
apps and their keys, and /settings/apps lists the apps that may use an account. Sign in as
{demo.screen_name} with the password above.

Get an access token with a PIN that you copy from the browser:

  {python} {_SAMPLES}/authorize_with_pin.py --env {shlex.quote(short(environment))}

At {url}/manage a manager enables apps and sees their usage. Sign in as
{demo.manager} with the password {demo.manager_password}
"""


def _label(demo: Demo, higgs: Path | None) -> str:
    if not demo.tweets:
        return "EMPTY: accounts and credentials, but no Tweets. Send them with the platform key."
    if higgs is None:
        return f"SIMULATED: {demo.tweets:,} Tweets, {demo.events:,} event rows, none of them real."
    real = demo.events - demo.simulated
    label = (
        f"Real: {real:,} interactions of July 2012 with {demo.tweets:,} Tweets, moved to end now."
    )
    if not demo.simulated:
        return f"{label} Nothing is simulated."
    return (
        f"{label}\nSIMULATED in addition: {demo.simulated:,} event rows of impressions, clicks, "
        "likes and views; --no-simulated leaves them out."
    )
