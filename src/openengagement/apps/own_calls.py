"""Sign API calls of an app for its developer, who need not paste a secret to try a request."""

from collections.abc import Callable, Iterable
from typing import Final

from openengagement.auth.credentials import draw_cookie
from openengagement.auth.keyring import Keyring
from openengagement.registry.apps import App
from openengagement.registry.registry import Registry
from openengagement_client.signature import SIGNATURE_METHOD, base_string, encode, sign

_METHOD: Final = "POST"


class NoAccessToken(Exception):
    """The owner of the app has no access token for it."""


class OwnCalls:
    """Signs POST requests with the credentials of an app. No secret leaves this object."""

    def __init__(self, registry: Registry, keyring: Keyring, *, now_s: Callable[[], float]) -> None:
        self._registry = registry
        self._keyring = keyring
        self._now_s = now_s

    def authorize(
        self,
        app: App,
        url: str,
        *,
        as_owner: bool,
        parameters: Iterable[tuple[str, str]] = (),
    ) -> str:
        """Return the Authorization header of a request (OAuth 1.0a).

        `url` is the base string URI. `as_owner` signs with the owner's access token, otherwise the
        app signs alone. `parameters` are further `oauth_*` parameters.

        Raises:
            NoAccessToken
        """
        token, token_secret = self._read_token(app) if as_owner else ("", "")
        pairs = [
            ("oauth_consumer_key", app.consumer_key),
            ("oauth_nonce", draw_cookie()),
            ("oauth_signature_method", SIGNATURE_METHOD),
            ("oauth_timestamp", str(int(self._now_s()))),
            *([("oauth_token", token)] if token else []),
            ("oauth_version", "1.0"),
            *parameters,
        ]
        secret = self._keyring.decrypt(app.consumer_secret)
        base = base_string(_METHOD, url, parameters=pairs)
        signed = [*pairs, ("oauth_signature", sign(base, secret, token_secret=token_secret))]
        return "OAuth " + ", ".join(f'{name}="{encode(value)}"' for name, value in signed)

    def _read_token(self, app: App) -> tuple[str, str]:
        grants = self._registry.grants
        live = grants.read_access_token(app_id=app.id, account_id=app.owner_id)
        if live is None:
            raise NoAccessToken
        return live.token, self._keyring.decrypt(live.secret)
