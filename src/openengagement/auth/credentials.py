"""Issue, rotate and revoke credentials. This module alone generates random secrets.

Checking an HMAC needs consumer secrets and token secrets in the clear, so they are encrypted at
rest, not hashed (see `auth.keyring`). Bearer tokens, platform keys and session secrets are stored
as SHA-256 hashes of values with at least 256 random bits, which cannot be guessed. An app must get
the same bearer token until it is invalidated, so the token is derived from the server's key, the
App ID and a generation number.
"""

import base64
import dataclasses
import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass
from typing import Final

from openengagement.auth.keyring import Keyring
from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.apps import App, AppForm, AppRemoved
from openengagement.registry.grants import AccessToken, RequestToken
from openengagement.registry.platform_keys import PlatformKey
from openengagement.registry.registry import Registry
from openengagement.registry.webhooks import Webhook

_ALPHABET: Final = string.ascii_letters + string.digits


_WEBHOOK_SECRET_BYTES: Final = 32


def hash_token(token: str) -> bytes:
    """Hash a bearer token, a platform key or a session secret for storage."""
    return hashlib.sha256(token.encode()).digest()


def _draw(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class NewApp:
    """An app with its new consumer key and secret. The secret is in the clear: show it once."""

    app_id: int
    consumer_key: str
    consumer_secret: str


def issue_app(
    registry: Registry, keyring: Keyring, *, form: AppForm, now_s: int, apps_max: int | None = None
) -> NewApp:
    """Register an app with a new consumer key and secret. Its owner may have `apps_max` apps.

    If the same `form.submission` made an app already, return that app with its credentials.

    Raises:
        TooManyApps
        AppRemoved: it was removed at once.
    """
    key, secret = _draw_consumer()
    if form.submission:
        key = _derive_consumer_key(keyring, f"{form.owner_id}:{form.submission}")
    credentials = (key, keyring.encrypt(secret))
    app_id = registry.apps.add_app(form, credentials=credentials, now_s=now_s, apps_max=apps_max)
    app = registry.apps.read_app(app_id)
    if app is None:
        raise AppRemoved
    return NewApp(app_id, key, keyring.decrypt(app.consumer_secret))


def _derive_consumer_key(keyring: Keyring, subject: str) -> str:
    tag = keyring.tags("consumer key", subject)[0]
    return "".join(char for char in tag if char in _ALPHABET)[:25]


def rotate_consumer(registry: Registry, keyring: Keyring, *, app_id: int) -> NewApp:
    """Replace an app's consumer key and secret. Revokes the old pair and the bearer token."""
    key, secret = _draw_consumer()
    registry.apps.replace_consumer(app_id, credentials=(key, keyring.encrypt(secret)))
    return NewApp(app_id, key, secret)


def _draw_consumer() -> tuple[str, str]:
    return _draw(25), _draw(50)


@dataclass(frozen=True, slots=True)
class Granted:
    """The app, account and access level that an access token is issued for."""

    app_id: int
    account_id: int
    access_level: AccessLevel = AccessLevel.READ


def issue_access_token(
    registry: Registry, keyring: Keyring, *, granted: Granted, now_s: int
) -> tuple[str, str]:
    """Return the access token and secret of an account for an app; issue them if there are none.

    An existing pair stays the same until it is revoked, and so does its access level (api.md 4.6).

    Raises:
        AppRemoved: the app was removed, or the account was erased.
    """
    app_id, account_id = granted.app_id, granted.account_id
    live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    new = draw_access_token(keyring, granted)
    while live is None:
        if registry.grants.add_access_token(new, now_s=now_s):
            live = new
        else:
            live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    return live.token, keyring.decrypt(live.secret)


def rotate_access_token(
    registry: Registry, keyring: Keyring, *, granted: Granted, now_s: int
) -> tuple[str, str]:
    """Issue a new access token and secret of an account for an app. Revokes the old pair.

    Raises:
        AppRemoved: the app was removed, or the account was erased.
    """
    new = draw_access_token(keyring, granted)
    registry.grants.replace_access_token(new, now_s=now_s)
    return new.token, keyring.decrypt(new.secret)


def draw_access_token(keyring: Keyring, granted: Granted) -> AccessToken:
    """Generate an access token without storing it."""
    return AccessToken(
        f"{granted.account_id}-{_draw(40)}",
        granted.app_id,
        granted.account_id,
        keyring.encrypt(_draw(45)),
        granted.access_level,
    )


def issue_request_token(
    registry: Registry, keyring: Keyring, *, template: RequestToken, forget_before_s: int
) -> tuple[str, str]:
    """Issue a request token and its secret.

    `template` has all other fields of the token. Tokens from before `forget_before_s` (Unix
    seconds) are removed.

    Raises:
        AppRemoved
    """
    token, secret = _draw(27), _draw(32)
    made = dataclasses.replace(template, token=token, secret=keyring.encrypt(secret))
    registry.grants.add_request_token(made, forget_before_s=forget_before_s)
    return token, secret


def draw_verifier(*, pin: bool) -> str:
    """Generate a verifier for a callback URL, or a PIN of seven digits for a person to copy."""
    return f"{secrets.randbelow(10**7):07}" if pin else _draw(32)


def draw_session() -> tuple[str, str]:
    """Generate a session's secret, for the cookie, and its id, which is not secret."""
    return _draw(43), _draw(16)


def draw_cookie() -> str:
    """Generate a secret for the cookie of a browser without a session."""
    return _draw(43)


def issue_bearer(registry: Registry, keyring: Keyring, *, app: App) -> str:
    """Return the app's bearer token; issue the one of its current generation if it has none.

    Raises:
        AppRemoved
    """
    derived = keyring.derive_bearers(app)
    for token in derived:
        if app.bearer_hash is not None and hmac.compare_digest(hash_token(token), app.bearer_hash):
            return token
    # A concurrent call stores the same token, because tokens are derived, not random.
    new = hash_token(derived[0])
    if registry.apps.set_bearer(app, generation=app.bearer_generation, bearer_hash=new):
        return derived[0]
    newer = registry.apps.read_app(app.id)
    if newer is None:
        raise AppRemoved
    return issue_bearer(registry, keyring, app=newer)


def revoke_bearer(registry: Registry, app: App) -> None:
    """Revoke the app's bearer token. The next one has a new generation."""
    registry.apps.set_bearer(app, generation=app.bearer_generation + 1, bearer_hash=None)


def issue_platform_key(
    registry: Registry,
    *,
    name: str,
    now_s: int,
    scopes: str | None = None,
    expires_at_s: int | None = None,
) -> str:
    """Issue a platform key. Show it once: only its hash is stored.

    `scopes` and `expires_at_s` are those of `PlatformKey`.
    """
    key, stored = draw_platform_key(name, now_s, scopes=scopes, expires_at_s=expires_at_s)
    registry.platform_keys.add_platform_key(stored)
    return key


def draw_platform_key(
    name: str, now_s: int, *, scopes: str | None = None, expires_at_s: int | None = None
) -> tuple[str, PlatformKey]:
    """Generate a platform key, in the clear and as it is stored, without storing it."""
    key = f"oepk_{_draw(43)}"
    return key, PlatformKey(hash_token(key), name, now_s, scopes=scopes, expires_at_s=expires_at_s)


def draw_webhook(
    keyring: Keyring, url: str, *, types: str | None, now_s: int
) -> tuple[str, Webhook]:
    """Generate a webhook without storing it. Return its secret in the clear, and the webhook.

    `url` must have been checked (`notifications.addresses`). `types` is that of `Webhook`.
    """
    secret = draw_webhook_secret()
    return secret, Webhook(f"wh_{_draw(16)}", url, keyring.encrypt(secret), now_s, types)


def draw_webhook_secret() -> str:
    """Generate the secret of a webhook, in the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_WEBHOOK_SECRET_BYTES)).decode()}"
