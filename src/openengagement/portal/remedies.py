"""Refusals of the API in words for developers: why, and what to change.

`api.refusals` has the words for the log, whose reader also runs the server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openengagement.language.current import gettext as _
from openengagement.language.current import gettext_noop


@dataclass(frozen=True, slots=True)
class Remedy:
    """Why a request is refused, and what its developer does about it."""

    reason: str
    advice: str


_AGAIN: Final = gettext_noop("Send the same request again after the seconds of Retry-After.")
_SIGNING: Final = gettext_noop("Sign with HMAC-SHA1. The API reference shows a complete header.")
_UNKNOWN: Final = Remedy(
    gettext_noop("The server refused the request."),
    gettext_noop("The message says why. The API reference lists the rules."),
)
# The stable name of a refusal (x-error-code) -> its remedy.
_REMEDIES: Final[Mapping[str, Remedy]] = {
    "malformed_body": Remedy(
        gettext_noop("The body is not JSON of the expected shape."),
        gettext_noop("Send one complete JSON object in UTF-8."),
    ),
    "invalid_field": Remedy(
        gettext_noop("A field breaks a rule."),
        gettext_noop(
            "The message names the field. The API reference has the limits of each field."
        ),
    ),
    "unsupported_engagement_types": Remedy(
        gettext_noop("The endpoint does not serve one of these metrics."),
        gettext_noop("Leave the named metrics out, or ask another endpoint for them."),
    ),
    "unsupported_group_bys": Remedy(
        gettext_noop("The endpoint does not group by one of these dimensions."),
        gettext_noop(
            "Totals have no days and hours. Use tweet.id and engagement.type, or another endpoint."
        ),
    ),
    "tweets_unavailable": Remedy(
        gettext_noop("None of the Tweets can be shown: they are unknown, deleted or protected."),
        gettext_noop("Check the Tweet IDs."),
    ),
    "tweets_too_old": Remedy(
        gettext_noop("The Tweets are too old for every metric of the request."),
        gettext_noop("Ask for newer Tweets, or for other metrics."),
    ),
    "gzip_required": Remedy(
        gettext_noop("This server answers compressed only."),
        gettext_noop("Send Accept-Encoding: gzip."),
    ),
    "body_too_slow": Remedy(
        gettext_noop("The body arrived too slowly."), gettext_noop("Send the body without pauses.")
    ),
    "body_too_large": Remedy(
        gettext_noop("The body is too large."), gettext_noop("Ask for fewer Tweets at once.")
    ),
    "unsupported_body": Remedy(
        gettext_noop("The server does not read this content type or encoding."),
        gettext_noop("Send Content-Type: application/json, uncompressed or with gzip."),
    ),
    "headers_too_large": Remedy(
        gettext_noop("The headers are too large."), gettext_noop("Send fewer headers.")
    ),
    "wrong_host": Remedy(
        gettext_noop("The server does not have this host name."),
        gettext_noop("Use the address of this page in your app."),
    ),
    "unknown_authorization_type": Remedy(
        gettext_noop("The Authorization header is missing, or of another kind."),
        gettext_noop(
            "Send Authorization: OAuth with a signature, or Bearer with the bearer token."
        ),
    ),
    "malformed_authorization": Remedy(
        gettext_noop("The Authorization header cannot be read."), _SIGNING
    ),
    "unsupported_signature_method": Remedy(gettext_noop("Only HMAC-SHA1 is accepted."), _SIGNING),
    "consumer_key_not_found": Remedy(
        gettext_noop("No app has this API key."),
        gettext_noop("Use the present API key of your app; regenerate it if lost."),
    ),
    "access_token_not_found": Remedy(
        gettext_noop("The access token was revoked, or belongs to another app."),
        gettext_noop("Generate a new access token, or let the person authorize your app again."),
    ),
    "bearer_token_not_found": Remedy(
        gettext_noop("The bearer token was revoked."),
        gettext_noop("Generate a new bearer token under Keys and tokens."),
    ),
    "timestamp_out_of_bounds": Remedy(
        gettext_noop("The timestamp of the signature is too far from the server's clock."),
        gettext_noop("Set the clock of your machine. The Date header has the server's time."),
    ),
    "invalid_signature": Remedy(
        gettext_noop("The signature does not fit the request."),
        gettext_noop(
            "Check the secrets, and that you sign exactly the URL and the parameters that you send."
        ),
    ),
    "nonce_used": Remedy(
        gettext_noop("The same signed request was sent before."),
        gettext_noop("Sign every request anew, repeats included."),
    ),
    "app_suspended": Remedy(
        gettext_noop("A manager suspended your app."),
        gettext_noop("Ask the platform's managers. Your keys are kept."),
    ),
    "app_not_enabled": Remedy(
        gettext_noop("Your App ID is not enabled for the Engagement API."),
        gettext_noop(
            "Wait for a manager's decision. The page Keys and tokens says since when the app waits."
        ),
    ),
    "desktop_apps_only_pin": Remedy(
        gettext_noop("Your app has no callback URL, so it can only use a PIN."),
        gettext_noop("Register the callback URL under Settings, or send oauth_callback=oob."),
    ),
    "callback_not_approved": Remedy(
        gettext_noop("This callback URL is not registered for your app."),
        gettext_noop(
            "Register it under Settings, or send a registered one, character for character."
        ),
    ),
    "ssl_required": Remedy(
        gettext_noop("The server answers over TLS only."), gettext_noop("Use https.")
    ),
    "user_context_required": Remedy(
        gettext_noop("The call needs a person's access token."),
        gettext_noop("Sign with OAuth 1.0a and an access token."),
    ),
    "forbidden_tweets": Remedy(
        gettext_noop("A Tweet belongs to another account than the access token."),
        gettext_noop(
            "Ask for Tweets of the access token's account only. The app alone gets public "
            "totals of any Tweet."
        ),
    ),
    "forbidden_metrics": Remedy(
        gettext_noop("A metric is private, and the request is not signed by the Tweet's author."),
        gettext_noop(
            "Sign with the access token of the Tweet's author, or leave the named metrics out."
        ),
    ),
    "rate_limited": Remedy(
        gettext_noop("Your app sent more requests in this minute than its limit."),
        gettext_noop(
            "Wait until the time of x-per-minute-reset. For a higher limit, ask the platform's "
            "managers."
        ),
    ),
    "internal_error": Remedy(
        gettext_noop("The server failed."),
        gettext_noop("Send the x-request-id of the answer to the platform's operator."),
    ),
    "unavailable": Remedy(gettext_noop("The server is busy."), _AGAIN),
    "store_unavailable": Remedy(gettext_noop("The server cannot read its data now."), _AGAIN),
    "store_damaged": Remedy(
        gettext_noop("The server found damaged data, and does not answer with it."),
        gettext_noop("Send the x-request-id of the answer to the platform's operator."),
    ),
}


def explain(code: str) -> Remedy:
    """Return the remedy of a refusal by its stable name, in the language of the request."""
    found = _REMEDIES.get(code, _UNKNOWN)
    return Remedy(_(found.reason), _(found.advice))
