"""The client of an OpenID Connect provider: discovery, keys, token endpoint, userinfo.

Every response is read up to a size limit and a deadline, on the event loop, so that a slow provider
delays only the sign-ins that wait for it. Redirects are not followed.
"""

import asyncio
import base64
import hashlib
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
import msgspec
from joserfc.jwk import KeySet

from openengagement.setting_kinds import is_provider_url
from openengagement.sign_in.id_token import Expected, IdTokenRefused, parse_keys, verify_id_token

_RESPONSE_MAX_BYTES: Final = 1_048_576
_CALL_S: Final = 5.0
_STEP_S: Final = 10.0  # all calls of one step, while a person waits
_CACHE_S: Final = 600.0  # the maximum age of discovery document and keys
_OK: Final = 200
_ERROR: Final = 500

_Kind = TypeVar("_Kind")


class ProviderUnavailable(Exception):
    """The provider does not respond, or responds with a 5xx status."""


class InvalidProviderAnswer(Exception):
    """The provider's answer breaks the protocol. The text names the check, and may be logged."""


class CodeRefused(Exception):
    """The provider does not know the code, or knows it no longer (invalid_grant)."""


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """The provider's issuer URL, and how this server is registered there as a client."""

    issuer: str
    client_id: str
    client_secret: str
    scope: str


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The values of one authorization request that the answer must match (Core, 3.1.2.1).

    `state`, `nonce` and `code_verifier` (RFC 7636) are random, secret and URL-safe. With
    `reauthenticate` the provider must authenticate the person even if it has a session for them.
    """

    state: str
    nonce: str
    code_verifier: str
    redirect_uri: str
    reauthenticate: bool = False


class Metadata(msgspec.Struct, frozen=True):
    """The fields that we use of a provider's discovery document (Discovery, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    id_token_signing_alg_values_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool | None = None


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str | None = None


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: str


@dataclass(frozen=True, slots=True)
class _Configuration:
    """Discovery document and keys, and when they were requested, by the event loop's clock."""

    metadata: Metadata
    keys: KeySet
    requested_s: float


class Provider:
    """Calls one provider. All methods raise ProviderUnavailable and InvalidProviderAnswer."""

    def __init__(self, registration: ClientRegistration, *, now_s: Callable[[], float]) -> None:
        self._client = registration
        self._now_s = now_s
        self._tls = httpx.create_ssl_context()
        self._configuration: _Configuration | None = None
        self._discovery: asyncio.Task[_Configuration] | None = None

    async def authorization_url(self, request: AuthorizationRequest) -> str:
        """The URL to send the browser to (code flow with PKCE)."""
        async with _deadline():
            metadata = (await self._discover()).metadata
        digest = hashlib.sha256(request.code_verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": request.redirect_uri,
            "scope": self._client.scope,
            "state": request.state,
            "nonce": request.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        if request.reauthenticate:
            query |= {"prompt": "login", "max_age": "0"}
        endpoint = metadata.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def is_issuer(self, issuer: str | None) -> bool:
        """Whether an authorization response with this `iss` is this provider's (RFC 9207, 2.4).

        None stands for a response without `iss`, which is accepted unless the provider announces
        that it sends one.
        """
        async with _deadline():
            metadata = (await self._discover()).metadata
        if issuer is None:
            return not metadata.authorization_response_iss_parameter_supported
        return issuer == metadata.issuer

    async def redeem_code(
        self, code: str, request: AuthorizationRequest, *, claim: str
    ) -> dict[str, Any]:
        """Exchange a code for the verified claims about the person.

        Userinfo is requested if the ID token lacks `claim`.

        Raises:
            CodeRefused
        """
        async with _deadline():
            configuration = await self._discover()
            tokens = await self._fetch_tokens(configuration.metadata, code, request=request)
            claims = await self._verify(tokens.id_token, configuration, nonce=request.nonce)
            if claim in claims or tokens.access_token is None:
                return claims
            userinfo = await self._fetch_userinfo(configuration.metadata, tokens.access_token)
            # Core, 5.3.2: without this check the userinfo could be about another person.
            if userinfo and userinfo.get("sub") != claims["sub"]:
                raise InvalidProviderAnswer("userinfo_sub")
            return {**userinfo, **claims}

    async def _verify(
        self, text: str, configuration: _Configuration, *, nonce: str
    ) -> dict[str, Any]:
        expected = Expected(self._client.issuer, self._client.client_id, nonce)

        def verify(configuration: _Configuration) -> dict[str, Any]:
            return verify_id_token(
                text,
                configuration.keys,
                algorithms=configuration.metadata.id_token_signing_alg_values_supported
                or ["RS256"],
                expected=expected,
                now_s=int(self._now_s()),
            )

        try:
            return verify(configuration)
        except IdTokenRefused:
            # The provider may have rotated its keys since they were fetched.
            newer = await self._discover(after_s=configuration.requested_s)
        try:
            return verify(newer)
        except IdTokenRefused as error:
            raise InvalidProviderAnswer(f"id_token {error}") from None

    async def _fetch_tokens(
        self, metadata: Metadata, code: str, *, request: AuthorizationRequest
    ) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.code_verifier,
        }
        client, headers = self._client, {}
        # client_secret_basic is the default (OpenID Connect Dynamic Client Registration, 2).
        methods = metadata.token_endpoint_auth_methods_supported or []
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            form |= {"client_id": client.client_id, "client_secret": client.client_secret}
        else:
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, body = await self._call(metadata.token_endpoint, headers=headers, form=form)
        if status == _OK:
            return _parse(body, _Tokens, name="token_answer")
        error = _parse(body, _ErrorAnswer, name="token_answer").error
        if error == "invalid_grant":
            raise CodeRefused
        # Only words of the standard reach the log (RFC 6749, 5.2).
        word = error if error in {"invalid_client", "unauthorized_client"} else "refused"
        raise InvalidProviderAnswer(f"token_endpoint {word}")

    async def _fetch_userinfo(self, metadata: Metadata, access_token: str) -> dict[str, Any]:
        url = metadata.userinfo_endpoint
        if url is None or not access_token.isascii() or not access_token.isprintable():
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        status, body = await self._call(url, headers=headers)
        if status != _OK:
            raise InvalidProviderAnswer("userinfo_status")
        return _parse(body, dict[str, Any], name="userinfo")

    async def _discover(self, *, after_s: float = -math.inf) -> _Configuration:
        """The configuration, from memory if it is recent and was requested after `after_s`.

        Concurrent callers share one fetch.
        """
        oldest_s = max(after_s, asyncio.get_running_loop().time() - _CACHE_S)
        if self._configuration is not None and self._configuration.requested_s > oldest_s:
            return self._configuration
        if self._discovery is None or self._discovery.done():
            self._discovery = asyncio.create_task(self._fetch_configuration())
            self._discovery.add_done_callback(_retrieve_exception)
        return await asyncio.shield(self._discovery)

    async def _fetch_configuration(self) -> _Configuration:
        requested_s = asyncio.get_running_loop().time()
        url = self._client.issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = _parse(await self._get(url), Metadata, name="discovery")
        if metadata.issuer != self._client.issuer:
            raise InvalidProviderAnswer("discovery_issuer")
        secure = urlsplit(metadata.issuer).scheme == "https"
        required = [metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri]
        for endpoint in [*required, metadata.userinfo_endpoint or url]:
            if not is_provider_url(endpoint) or (secure and not endpoint.startswith("https:")):
                raise InvalidProviderAnswer("discovery_endpoint")
        keys = parse_keys(_parse(await self._get(metadata.jwks_uri), dict[str, Any], name="keys"))
        self._configuration = _Configuration(metadata, keys, requested_s)
        return self._configuration

    async def _get(self, url: str) -> bytes:
        status, body = await self._call(url)
        if status != _OK:
            raise InvalidProviderAnswer("discovery_status")
        return body

    async def _call(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send one request over its own connection, a POST if there is a form: status and body."""
        body = bytearray()
        sent = {"accept": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(_CALL_S),
                httpx.AsyncClient(
                    verify=self._tls, timeout=_CALL_S, follow_redirects=False
                ) as client,
                client.stream("POST" if form else "GET", url, data=form, headers=sent) as response,
            ):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _RESPONSE_MAX_BYTES:
                        raise InvalidProviderAnswer("answer_size")
        except (TimeoutError, httpx.TransportError):
            raise ProviderUnavailable from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise InvalidProviderAnswer("answer") from None
        if response.status_code >= _ERROR:
            raise ProviderUnavailable
        return response.status_code, bytes(body)


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    """Bound the time of one step of a sign-in, which may call the provider several times."""
    try:
        async with asyncio.timeout(_STEP_S):
            yield
    except TimeoutError:
        raise ProviderUnavailable from None


def _parse(body: bytes, kind: type[_Kind], *, name: str) -> _Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidProviderAnswer(name) from None


def _retrieve_exception(task: "asyncio.Task[_Configuration]") -> None:
    """Retrieve the exception of a task that nothing awaits any more; asyncio would log it."""
    if not task.cancelled():
        task.exception()
