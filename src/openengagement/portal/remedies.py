"""Refusals of the API in words for developers: why, and what to change.

`api.refusals` has the words for the log, whose reader also runs the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Remedy:
    """Why a request is refused, and what its developer does about it."""

    reason: str
    advice: str


_AGAIN: Final = "Send the same request again after the seconds of Retry-After."
_SIGNING: Final = "Sign with HMAC-SHA1. The API reference shows a complete header."
_UNKNOWN: Final = Remedy(
    "The server refused the request.", "The message says why. The API reference lists the rules."
)
# The stable name of a refusal (x-error-code) -> its remedy.
_REMEDIES: Final[Mapping[str, Remedy]] = {
    "malformed_body": Remedy(
        "The body is not JSON of the expected shape.", "Send one complete JSON object in UTF-8."
    ),
    "invalid_field": Remedy(
        "A field breaks a rule.",
        "The message names the field. The API reference has the limits of each field.",
    ),
    "unsupported_engagement_types": Remedy(
        "The endpoint does not serve one of these metrics.",
        "Leave the named metrics out, or ask another endpoint for them.",
    ),
    "unsupported_group_bys": Remedy(
        "The endpoint does not group by one of these dimensions.",
        "Totals have no days and hours. Use tweet.id and engagement.type, or another endpoint.",
    ),
    "tweets_unavailable": Remedy(
        "None of the Tweets can be shown: they are unknown, deleted or protected.",
        "Check the Tweet IDs.",
    ),
    "tweets_too_old": Remedy(
        "The Tweets are too old for every metric of the request.",
        "Ask for newer Tweets, or for other metrics.",
    ),
    "gzip_required": Remedy(
        "This server answers compressed only.", "Send Accept-Encoding: gzip."
    ),
    "body_too_slow": Remedy("The body arrived too slowly.", "Send the body without pauses."),
    "body_too_large": Remedy("The body is too large.", "Ask for fewer Tweets at once."),
    "unsupported_body": Remedy(
        "The server does not read this content type or encoding.",
        "Send Content-Type: application/json, uncompressed or with gzip.",
    ),
    "headers_too_large": Remedy("The headers are too large.", "Send fewer headers."),
    "wrong_host": Remedy(
        "The server does not have this host name.", "Use the address of this page in your app."
    ),
    "unknown_authorization_type": Remedy(
        "The Authorization header is missing, or of another kind.",
        "Send Authorization: OAuth with a signature, or Bearer with the bearer token.",
    ),
    "malformed_authorization": Remedy("The Authorization header cannot be read.", _SIGNING),
    "unsupported_signature_method": Remedy("Only HMAC-SHA1 is accepted.", _SIGNING),
    "consumer_key_not_found": Remedy(
        "No app has this API key.", "Use the present API key of your app; regenerate it if lost."
    ),
    "access_token_not_found": Remedy(
        "The access token was revoked, or belongs to another app.",
        "Generate a new access token, or let the person authorize your app again.",
    ),
    "bearer_token_not_found": Remedy(
        "The bearer token was revoked.", "Generate a new bearer token under Keys and tokens."
    ),
    "timestamp_out_of_bounds": Remedy(
        "The timestamp of the signature is too far from the server's clock.",
        "Set the clock of your machine. The Date header has the server's time.",
    ),
    "invalid_signature": Remedy(
        "The signature does not fit the request.",
        "Check the secrets, and that you sign exactly the URL and the parameters that you send.",
    ),
    "nonce_used": Remedy(
        "The same signed request was sent before.", "Sign every request anew, repeats included."
    ),
    "app_suspended": Remedy(
        "A manager suspended your app.", "Ask the platform's managers. Your keys are kept."
    ),
    "app_not_enabled": Remedy(
        "Your App ID is not enabled for the Engagement API.",
        "Wait for a manager's decision. The page Keys and tokens says since when the app waits.",
    ),
    "desktop_apps_only_pin": Remedy(
        "Your app has no callback URL, so it can only use a PIN.",
        "Register the callback URL under Settings, or send oauth_callback=oob.",
    ),
    "callback_not_approved": Remedy(
        "This callback URL is not registered for your app.",
        "Register it under Settings, or send a registered one, character for character.",
    ),
    "ssl_required": Remedy("The server answers over TLS only.", "Use https."),
    "user_context_required": Remedy(
        "The call needs a person's access token.", "Sign with OAuth 1.0a and an access token."
    ),
    "forbidden_tweets": Remedy(
        "A Tweet belongs to another account than the access token.",
        "Ask for Tweets of the access token's account only. The app alone gets public totals of "
        "any Tweet.",
    ),
    "forbidden_metrics": Remedy(
        "A metric is private, and the request is not signed by the Tweet's author.",
        "Sign with the access token of the Tweet's author, or leave the named metrics out.",
    ),
    "rate_limited": Remedy(
        "Your app sent more requests in this minute than its limit.",
        "Wait until the time of x-per-minute-reset. For a higher limit, ask the platform's "
        "managers.",
    ),
    "internal_error": Remedy(
        "The server failed.", "Send the x-request-id of the answer to the platform's operator."
    ),
    "unavailable": Remedy("The server is busy.", _AGAIN),
    "store_unavailable": Remedy("The server cannot read its data now.", _AGAIN),
    "store_damaged": Remedy(
        "The server found damaged data, and does not answer with it.",
        "Send the x-request-id of the answer to the platform's operator.",
    ),
}  # fmt: skip


def explain(code: str) -> Remedy:
    """Return the remedy of a refusal by its stable name."""
    return _REMEDIES.get(code, _UNKNOWN)
