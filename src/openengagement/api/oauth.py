"""OAuth calls: an app fetches and invalidates its bearer token (contract 4.7)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

import msgspec

from openengagement.api.error_body import JSON
from openengagement.api.http import ReadBody, Reply, Request
from openengagement.auth.authenticate import Authenticator
from openengagement.auth.credentials import Keyring, hash_token, issue_bearer, revoke_bearer
from openengagement.auth.lookup import CredentialLookup
from openengagement.auth.message import Message
from openengagement.auth.oauth1 import has_oauth_parameters
from openengagement.auth.oauth2 import scheme_and_rest, verify_basic
from openengagement.auth.signature import MalformedParameters, parse_form
from openengagement.errors import AuthenticationError, UnverifiedClient
from openengagement.ingest.compression import decompress
from openengagement.registry.registry import App, Registry
from openengagement.settings import Settings


class OAuthCalls:
    """Handlers of `/oauth2/*`. They may write to the registry, so they run off the event loop."""

    def __init__(
        self,
        authenticator: Authenticator,
        lookup: CredentialLookup,
        *,
        registry: Registry,
        keyring: Keyring,
        settings: Settings,
        pool: Executor,
    ) -> None:
        self._authenticator = authenticator
        self._lookup = lookup
        self._registry = registry
        self._keyring = keyring
        self._body_max_bytes = settings.body_max_bytes
        self._pool = pool

    async def token(self, request: Request, read_body: ReadBody) -> Reply:
        return await self._call(self._token, request, read_body)

    async def invalidate_token(self, request: Request, read_body: ReadBody) -> Reply:
        return await self._call(self._invalidate_token, request, read_body)

    async def _call(
        self, work: Callable[[Message], Reply], request: Request, read_body: ReadBody
    ) -> Reply:
        body = await read_body(self._body_max_bytes)
        encoding = request.header(b"content-encoding")
        message = request.message(decompress(body, encoding, self._body_max_bytes))
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, message)

    def _token(self, message: Message) -> Reply:
        """`POST /oauth2/token`: the app's bearer token, the same one until it is invalidated.

        Raises:
            UnverifiedClient: wrong credentials, or another grant type.
        """
        app = verify_basic(message, self._lookup)
        if app is None or _form_fields(message).get("grant_type") != "client_credentials":
            raise UnverifiedClient
        token = issue_bearer(self._registry, self._keyring, app)
        return _json({"token_type": "bearer", "access_token": token})

    def _invalidate_token(self, message: Message) -> Reply:
        """`POST /oauth2/invalidate_token`: kill a bearer token of the app that asks.

        Raises:
            UnverifiedClient: the app is not who it says, or the token is not its own.
        """
        app = self._calling_app(message)
        token = _form_fields(message).get("access_token", "")
        owner = self._lookup.bearer(token)
        if app is None or owner is None or owner.id != app.id:
            raise UnverifiedClient
        if owner.bearer_hash == hash_token(token):
            revoke_bearer(self._registry, owner)
        return _json({"access_token": token})

    def _calling_app(self, message: Message) -> App | None:
        """By Basic (the guide) or by OAuth 1.0a as the app's owner (the reference)."""
        scheme, _ = scheme_and_rest(message)
        if scheme == "oauth" or (not scheme and has_oauth_parameters(message)):
            try:
                signed = self._authenticator.verify_signed(message, json_body=False)
            except AuthenticationError:
                raise UnverifiedClient from None
            app = signed.consumer.app
            if signed.user is None or signed.user.token.account_id != app.owner_id:
                raise UnverifiedClient
            self._authenticator.remember(signed)
            return app
        return verify_basic(message, self._lookup)


def _form_fields(message: Message) -> dict[str, str]:
    """Query and form together; a field given twice counts as not given."""
    try:
        body = message.body.decode() if message.is_form else ""
        pairs = parse_form(message.query) + parse_form(body)
    except (MalformedParameters, UnicodeDecodeError):
        return {}
    names = [name for name, _ in pairs]
    return {name: value for name, value in pairs if names.count(name) == 1}


def _json(body: dict[str, str]) -> Reply:
    headers = {"content-type": JSON, "cache-control": "no-store", "pragma": "no-cache"}
    return Reply(200, msgspec.json.encode(body), headers)
