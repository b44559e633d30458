"""tweepy, whose URLs cannot be changed: authorize by PIN, then read the account and the limits.

Proxy, certificate and the app's key come from the environment. It prints the address to send the
person to, reads the PIN, and prints what the API says of the person and of the rate limits.
"""

import json
import os

import tweepy

handler = tweepy.OAuth1UserHandler(
    os.environ["CONSUMER_KEY"], os.environ["CONSUMER_SECRET"], callback="oob"
)
print(handler.get_authorization_url(), flush=True)
handler.get_access_token(input())
api = tweepy.API(handler)
print(json.dumps([api.verify_credentials()._json, api.rate_limit_status(resources="account")]))
