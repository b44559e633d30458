"""Send requests to the real hosts, as unmodified clients do.

Proxy, certificate and credentials come from the environment; the body from standard input.
"""

import json
import os
import sys

import httpx
import requests
import tweepy
from requests_oauthlib import OAuth1

BODY = json.load(sys.stdin)
PATH = "/insights/engagement/totals"
HOSTS = ("api.twitter.com", "data-api.twitter.com", "api.x.com", "data-api.x.com")
ELSEWHERE = ("https://example.com/", "https://api.twitter.com:8443/", "http://api.twitter.com/")

consumer = (os.environ["CONSUMER_KEY"], os.environ["CONSUMER_SECRET"])
token = (os.environ["ACCESS_TOKEN"], os.environ["ACCESS_TOKEN_SECRET"])


def ask_elsewhere(url):
    """Return the status of a response, or the error."""
    try:
        return requests.get(url, timeout=20).status_code
    except requests.RequestException as error:
        return str(error)


# The URL from which tweepy fetches its bearer token cannot be changed.
bearer = tweepy.OAuth2AppHandler(*consumer).apply_auth()(requests.Request()).headers
public = {**BODY, "engagement_types": ["favorites"]}
signed = {
    host: requests.post(f"https://{host}{PATH}", json=BODY, auth=OAuth1(*consumer, *token)).json()
    for host in HOSTS
}
url = f"https://data-api.twitter.com{PATH}"
by_httpx = httpx.post(url, json=public, headers=bearer, timeout=120)  # 5 s by default
print(
    json.dumps(
        {
            "bearer": bearer["Authorization"],
            "signed": signed,
            "httpx": [by_httpx.status_code, by_httpx.http_version, by_httpx.json()],
            "elsewhere": {url: ask_elsewhere(url) for url in ELSEWHERE},
        }
    )
)
