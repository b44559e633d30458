"""tweepy, whose URLs cannot be changed: authorize by PIN and call verify_credentials.

Proxy, certificate and the app's key come from the environment. It prints the address to send the
person to, reads the PIN, and prints what the API says of them.
"""

import json
import os

import tweepy

handler = tweepy.OAuth1UserHandler(
    os.environ["CONSUMER_KEY"], os.environ["CONSUMER_SECRET"], callback="oob"
)
print(handler.get_authorization_url(), flush=True)
handler.get_access_token(input())
print(json.dumps(tweepy.API(handler).verify_credentials()._json))
