"""An OpenID Connect provider that behaves correctly until a test changes its behaviour.

It is there for what no good provider would do. That we get on with one we did not write is shown in
`tests/interop/test_openid_provider.py`.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from support.listener import WebSite

CLIENT_ID = "engagement"
CLIENT_SECRET = "made up: with + and % in it"
KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "second", "use": "sig"})
EC_KEY = ECKey.generate_key("P-256", {"kid": "curve", "use": "sig"})
OKP_KEY = OKPKey.generate_key("Ed25519", {"kid": "edwards", "use": "sig"})

# The last two do not prove who signed.
ANNOUNCED = ["RS256", "PS256", "ES256", "EdDSA", "HS256", "none"]

Json = dict[str, Any]


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


class Provider(WebSite):
    """Tests change `discovery`, `keys`, `bend_claims`, `sign`, `answers` and so on."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.http.provider = self  # type: ignore[attr-defined]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.behave()

    def behave(self) -> None:
        """Return to correct behaviour, and delete everything that was recorded."""
        self.discovery: Json = {}
        self.keys: list[Any] = [KEY]
        self.bend_claims: Callable[[Json], Json] = lambda claims: claims
        self.sign: Callable[[Json], str] = sign_with(KEY, "RS256")
        # path -> status, headers, body, and how long to wait before
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.waits_s: dict[str, float] = {}
        self.goes_on = threading.Event()  # ends all waits
        self.userinfo: Json = {}
        self.asked: list[str] = []
        self._codes: dict[str, Json] = {}

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which the server uses this provider."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_name": "Harbour ID",
        }

    def approve(self, url: str, **claims: Any) -> str:
        """Approve the sign-in of this URL. Return the URL to which the browser is redirected."""
        asked = query_of(url)
        assert url.startswith(f"{self.issuer}/authorize?"), url
        assert (asked["client_id"], asked["response_type"]) == (CLIENT_ID, "code")
        assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid profile")
        # Codes are unique, because a slow request of an earlier test may still use its code.
        code = f"code-{secrets.token_hex(8)}"
        self._codes[code] = {"asked": asked, "claims": claims}
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def metadata(self) -> Json:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ANNOUNCED,
            "authorization_response_iss_parameter_supported": True,
            **self.discovery,
        }

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, Json]:
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).partition(b":")
        named = (unquote_plus(user.decode()), unquote_plus(password.decode()))
        if named != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client"}
        issued = self._codes.pop(form.get("code", ""), None)
        if issued is None or form["redirect_uri"] != issued["asked"]["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if challenge != issued["asked"]["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now_s = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "248",
            "aud": CLIENT_ID,
            "exp": now_s + 300,
            "iat": now_s,
            "nonce": issued["asked"]["nonce"],
            **issued["claims"],
        }
        token = self.sign(self.bend_claims(claims))
        return 200, {"token_type": "Bearer", "access_token": "an-access-token", "id_token": token}


def sign_with(key: Any, algorithm: str, **header: Any) -> Callable[[Json], str]:
    """Return a function that signs claims. A header of None is left out."""

    def sign(claims: Json) -> str:
        given = {"alg": algorithm, "kid": key.kid, **header}
        kept = {name: value for name, value in given.items() if value is not None}
        return jws.serialize_compact(kept, json.dumps(claims), key, algorithms=[algorithm])

    return sign


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        if self._bent(provider):
            return
        if self.path == "/.well-known/openid-configuration":
            self._send(200, provider.metadata())
        elif self.path == "/keys":
            listed = [each if isinstance(each, dict) else public(each) for each in provider.keys]
            self._send(200, {"keys": listed})
        elif self.path == "/userinfo":
            known = self.headers["authorization"] == "Bearer an-access-token"
            self._send(200 if known else 401, provider.userinfo)
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if not self._bent(provider):
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._send(*provider.redeem(form, self.headers.get("authorization", "")))

    def _bent(self, provider: Provider) -> bool:
        provider.asked.append(self.path)
        provider.goes_on.wait(provider.waits_s.get(self.path, 0))
        if self.path not in provider.answers:
            return False
        status, headers, body = provider.answers[self.path]
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body)
        return True

    def _send(self, status: int, answer: Json) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self._write(body)

    def _write(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
        except (
            BrokenPipeError,
            ConnectionResetError,
        ):  # the client closed before it had read everything
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""


def public(key: Any) -> Json:
    found: Json = key.as_dict(private=False)
    return found
