"""OAuth 1.0a with oauthlib. Credentials and nonces stay in memory, which is cheaper than a table.

Each worker has its own nonces, so the other worker would accept a replay. The product refuses it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from oauthlib.common import Request as Signed
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

NONCES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Token:
    """A row of `tokens`."""

    consumer_key: str
    access_token: str
    consumer_secret: str
    access_token_secret: str
    user_id: int


class Validator(RequestValidator):
    """Looks up credentials for oauthlib."""

    enforce_ssl = False
    client_key_length = access_token_length = nonce_length = (1, 100)
    dummy_client = dummy_access_token = "nobody"

    def __init__(self, tokens: Iterable[Token]) -> None:
        super().__init__()
        self._tokens = {(each.consumer_key, each.access_token): each for each in tokens}
        self._clients = {each.consumer_key: each.consumer_secret for each in tokens}
        self._nonces: dict[tuple[str, str, str | None], None] = {}

    def check_client_key(self, client_key: str) -> bool:
        return bool(client_key)

    def check_access_token(self, request_token: str) -> bool:
        return bool(request_token)

    def check_nonce(self, nonce: str) -> bool:
        return bool(nonce)

    def validate_client_key(self, client_key: str, _request: Signed) -> bool:
        return client_key in self._clients

    def validate_access_token(self, client_key: str, token: str, _request: Signed) -> bool:
        return (client_key, token) in self._tokens

    def validate_realms(self, *_: Any, **__: Any) -> bool:  # noqa: ANN401
        return True

    def validate_timestamp_and_nonce(
        self,
        client_key: str,
        timestamp: str,
        nonce: str,
        _request: Signed,
        request_token: str | None = None,  # noqa: ARG002
        access_token: str | None = None,
    ) -> bool:
        seen = (f"{client_key} {nonce}", timestamp, access_token)
        if seen in self._nonces:
            return False
        self._nonces[seen] = None
        if len(self._nonces) > NONCES_MAX:
            del self._nonces[next(iter(self._nonces))]
        return True

    def get_client_secret(self, client_key: str, _request: Signed) -> str:
        return self._clients.get(client_key, "nothing")

    def get_access_token_secret(self, client_key: str, token: str, _request: Signed) -> str:
        known = self._tokens.get((client_key, token))
        return known.access_token_secret if known else "nothing"

    def user_id(self, client_key: str, token: str) -> int:
        return self._tokens[client_key, token].user_id


class Verifier:
    """Finds the owner of the access token that signed a request."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._validator = Validator(list(tokens))
        self._endpoint = ResourceEndpoint(self._validator)

    def user_id(self, url: str, authorization: str) -> int | None:
        """Return the token's owner; None if the signature is wrong."""
        valid, request = self._endpoint.validate_protected_resource_request(
            url, http_method="POST", headers={"Authorization": authorization}
        )
        if not valid:
            return None
        return self._validator.user_id(request.client_key, request.resource_owner_key)
