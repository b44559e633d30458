"""An OpenID Connect provider, as we talk to it: discovery, keys, code for token, userinfo.

Everything it says is read under a cap and a deadline, on the event loop, so that a provider that is
slow or gone holds up nobody but those who wait for it. Redirects are not followed.
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

from openengagement.settings import is_provider_url
from openengagement.sign_in.id_token import Expected, IdTokenRefused, parse_keys, verify_id_token

_ANSWER_MAX_BYTES: Final = 1_048_576
_CALL_S: Final = 5.0
_ALL_S: Final = 10.0  # what a person waits for us and the provider to talk, at the longest
_KEEP_S: Final = 600.0  # how old discovery and keys may get
_OK: Final = 200
_ERROR: Final = 500

_Kind = TypeVar("_Kind")


class ProviderSilent(Exception):
    """The provider did not answer, or only that it cannot now."""


class ProviderWrong(Exception):
    """The provider answered what nobody can go on with; the text is ours and fit for a log."""


class CodeRefused(Exception):
    """The provider does not know the code, or not any more."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the provider and we know about each other."""

    issuer: str
    client_id: str
    client_secret: str
    scope: str


@dataclass(frozen=True, slots=True)
class Errand:
    """What one sign-in asks the provider for, and what its answer must fit.

    The three secrets are URL-safe; `redirect_uri` is where the browser is to come back to.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class Metadata(msgspec.Struct, frozen=True):
    """What of a provider's discovery document concerns us (OpenID Connect Discovery, 3)."""

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


class _Refusal(msgspec.Struct, frozen=True):
    error: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What was learned of the provider, and when by the loop's clock."""

    metadata: Metadata
    keys: KeySet
    at_s: float


class Provider:
    """One provider. Its methods raise ProviderSilent and ProviderWrong."""

    def __init__(self, registration: Registration, *, now_s: Callable[[], float]) -> None:
        self._ours = registration
        self._now_s = now_s
        self._tls = httpx.create_ssl_context()
        self._known: _Known | None = None
        self._learning: asyncio.Task[_Known] | None = None

    async def authorization_url(self, errand: Errand, *, anew: bool) -> str:
        """Where to send the browser; `anew` asks that the person prove once more who they are."""
        async with _deadline():
            metadata = (await self._learn()).metadata
        digest = hashlib.sha256(errand.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._ours.client_id,
            "redirect_uri": errand.redirect_uri,
            "scope": self._ours.scope,
            "state": errand.state,
            "nonce": errand.nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        if anew:
            query |= {"prompt": "login", "max_age": "0"}
        endpoint = metadata.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    async def is_sender(self, issuer: str | None) -> bool:
        """Whether an answer to the browser that names this issuer, or none, is this provider's.

        RFC 9207: what it announces to name must be named, and a name that is there must be right.
        """
        async with _deadline():
            metadata = (await self._learn()).metadata
        if issuer is None:
            return not metadata.authorization_response_iss_parameter_supported
        return issuer == metadata.issuer

    async def redeem(self, code: str, errand: Errand, *, claim: str) -> dict[str, Any]:
        """The claims about whoever the code stands for; `claim` is looked for in userinfo too.

        Raises:
            CodeRefused
        """
        async with _deadline():
            known = await self._learn()
            tokens = await self._fetch_tokens(known.metadata, code, errand=errand)
            claims = await self._verify(tokens.id_token, known, nonce=errand.nonce)
            if claim in claims or tokens.access_token is None:
                return claims
            told = await self._fetch_userinfo(known.metadata, tokens.access_token)
            # Core, 5.3.2: or it may be about somebody else.
            if told and told.get("sub") != claims["sub"]:
                raise ProviderWrong("userinfo_sub")
            return {**told, **claims}

    async def _verify(self, text: str, known: _Known, *, nonce: str) -> dict[str, Any]:
        expected = Expected(self._ours.issuer, self._ours.client_id, nonce)

        def verify(known: _Known) -> dict[str, Any]:
            return verify_id_token(
                text,
                known.keys,
                algorithms=known.metadata.id_token_signing_alg_values_supported or ["RS256"],
                expected=expected,
                now_s=int(self._now_s()),
            )

        try:
            return verify(known)
        except IdTokenRefused:
            # Its keys may have changed since we looked.
            newer = await self._learn(after_s=known.at_s)
        try:
            return verify(newer)
        except IdTokenRefused as error:
            raise ProviderWrong(f"id_token {error}") from None

    async def _fetch_tokens(self, metadata: Metadata, code: str, *, errand: Errand) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": errand.redirect_uri,
            "code_verifier": errand.verifier,
        }
        ours, headers = self._ours, {}
        # A client is registered for the header unless it says otherwise (Registration, 2).
        ways = metadata.token_endpoint_auth_methods_supported or []
        if "client_secret_post" in ways and "client_secret_basic" not in ways:
            form |= {"client_id": ours.client_id, "client_secret": ours.client_secret}
        else:
            pair = f"{quote_plus(ours.client_id)}:{quote_plus(ours.client_secret)}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, body = await self._call(metadata.token_endpoint, headers=headers, form=form)
        if status == _OK:
            return _parse(body, _Tokens, what="token_answer")
        error = _parse(body, _Refusal, what="token_answer").error
        if error == "invalid_grant":
            raise CodeRefused
        # Only words of the standard reach the log (RFC 6749, 5.2).
        named = error if error in {"invalid_client", "unauthorized_client"} else "refused"
        raise ProviderWrong(f"token_endpoint {named}")

    async def _fetch_userinfo(self, metadata: Metadata, access_token: str) -> dict[str, Any]:
        url = metadata.userinfo_endpoint
        if url is None or not access_token.isascii() or not access_token.isprintable():
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        status, body = await self._call(url, headers=headers)
        if status != _OK:
            raise ProviderWrong("userinfo_status")
        return _parse(body, dict[str, Any], what="userinfo")

    async def _learn(self, *, after_s: float = -math.inf) -> _Known:
        """Discovery and keys, from memory if they are young and were learned after `after_s`.

        Whoever needs them while they are being fetched waits for that one fetch.
        """
        oldest_s = max(after_s, asyncio.get_running_loop().time() - _KEEP_S)
        if self._known is not None and self._known.at_s > oldest_s:
            return self._known
        if self._learning is None or self._learning.done():
            self._learning = asyncio.create_task(self._fetch_known())
            self._learning.add_done_callback(_hear)
        return await asyncio.shield(self._learning)

    async def _fetch_known(self) -> _Known:
        at_s = asyncio.get_running_loop().time()
        url = self._ours.issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = _parse(await self._get(url), Metadata, what="discovery")
        if metadata.issuer != self._ours.issuer:
            raise ProviderWrong("discovery_issuer")
        secure = urlsplit(metadata.issuer).scheme == "https"
        named = [metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri]
        for endpoint in [*named, metadata.userinfo_endpoint or url]:
            if not is_provider_url(endpoint) or (secure and not endpoint.startswith("https:")):
                raise ProviderWrong("discovery_endpoint")
        keys = parse_keys(_parse(await self._get(metadata.jwks_uri), dict[str, Any], what="keys"))
        self._known = _Known(metadata, keys, at_s)
        return self._known

    async def _get(self, url: str) -> bytes:
        status, body = await self._call(url)
        if status != _OK:
            raise ProviderWrong("discovery_status")
        return body

    async def _call(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request, a POST if there is a form, over a connection of its own: status and body."""
        body = bytearray()
        sent = {"accept": "application/json", **(headers or {})}
        try:
            async with (
                asyncio.timeout(_CALL_S),
                self._connect() as client,
                client.stream("POST" if form else "GET", url, data=form, headers=sent) as response,
            ):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _ANSWER_MAX_BYTES:
                        raise ProviderWrong("answer_size")
        except (TimeoutError, httpx.TransportError):
            raise ProviderSilent from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise ProviderWrong("answer") from None
        if response.status_code >= _ERROR:
            raise ProviderSilent
        return response.status_code, bytes(body)

    def _connect(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._tls, timeout=_CALL_S, follow_redirects=False)


@asynccontextmanager
async def _deadline() -> AsyncIterator[None]:
    """For all that one step of a sign-in asks of the provider."""
    try:
        async with asyncio.timeout(_ALL_S):
            yield
    except TimeoutError:
        raise ProviderSilent from None


def _parse(body: bytes, kind: type[_Kind], *, what: str) -> _Kind:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProviderWrong(what) from None


def _hear(task: "asyncio.Task[_Known]") -> None:
    """Take note of a failure that nobody waits for any more, or asyncio would complain of it."""
    if not task.cancelled():
        task.exception()
