"""Get an access token for a person by the three-legged flow, or a bearer token for the app alone.

The person decides in a browser. The app learns of it by a callback to this machine, or by a PIN
that the person types. Nothing here is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Self
from urllib.parse import parse_qsl, urlencode

from openengagement_client.authorization import basic_header, sign_header
from openengagement_client.credentials import Credentials
from openengagement_client.errors import UnexpectedAnswer
from openengagement_client.http_messages import ApiCall, HttpResponse
from openengagement_client.retrying import send
from openengagement_client.sessions import Session, check_url
from openengagement_client.transport import Options, Transport

PIN: Final = "oob"
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class RequestToken:
    """An authorization that has begun. Send the person to `url`."""

    token: str
    secret: str = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The access that a person granted."""

    credentials: Credentials
    user_id: str
    screen_name: str


class SignIn:
    """Calls the OAuth endpoints of a server as one app. Use it in a `with` statement."""

    def __init__(
        self, url: str, credentials: Credentials, *, options: Options | None = None
    ) -> None:
        options = options or Options()
        self._url = check_url(url, allow_plain_http=options.allow_plain_http)
        self._app = replace(credentials, access_token="", access_token_secret="")
        self._transport = Transport(options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._transport.close()

    def request_token(self, callback: str = PIN) -> RequestToken:
        """Begin: `callback` is a URL that is registered for the app, or `oob` for a PIN.

        Raises:
            ApiError: the server refused it.
        """
        found = self._signed("request_token", self._app, more=[("oauth_callback", callback)])
        token, secret = _take(found, "oauth_token", "oauth_token_secret")
        query = urlencode({"oauth_token": token})
        return RequestToken(token, secret, f"{self._url}/oauth/authorize?{query}")

    def access_token(self, request: RequestToken, verifier: str) -> SignedIn:
        """End: exchange the verifier of the callback, or the PIN.

        Raises:
            ApiError: the server refused it, for example because the PIN is wrong.
        """
        credentials = replace(
            self._app, access_token=request.token, access_token_secret=request.secret
        )
        found = self._signed("access_token", credentials, more=[("oauth_verifier", verifier)])
        token, secret = _take(found, "oauth_token", "oauth_token_secret")
        granted = replace(self._app, access_token=token, access_token_secret=secret)
        return SignedIn(granted, found.get("user_id", ""), found.get("screen_name", ""))

    def bearer_token(self) -> Credentials:
        """Get the app's bearer token.

        Raises:
            ApiError: the server refused it.
        """
        body = b"grant_type=client_credentials"
        call = ApiCall("POST", "/oauth2/token", body, _FORM, expects_json=True)
        content = self._call(call, basic_header(self._app)).content
        if not isinstance(content, dict) or not content.get("access_token"):
            raise UnexpectedAnswer("the answer has no bearer token")
        return replace(self._app, bearer_token=str(content["access_token"]))

    def revoke(self, credentials: Credentials) -> None:
        """End the access token, or without one the bearer token.

        Raises:
            ApiError: the server refused it. 401 means that the token has ended before.
        """
        if credentials.access_token:
            self._signed_call("/1.1/oauth/invalidate_token.json", credentials)
        elif credentials.bearer_token:
            body = urlencode({"access_token": credentials.bearer_token}).encode()
            call = ApiCall("POST", "/oauth2/invalidate_token", body, _FORM)
            self._call(call, basic_header(credentials))

    def _signed(
        self, name: str, credentials: Credentials, *, more: Sequence[tuple[str, str]]
    ) -> dict[str, str]:
        response = self._signed_call(f"/oauth/{name}", credentials, more=more)
        return dict(parse_qsl(response.body.decode(errors="replace")))

    def _signed_call(
        self, path: str, credentials: Credentials, *, more: Sequence[tuple[str, str]] = ()
    ) -> HttpResponse:
        session = Session(self._url, partial(sign_header, credentials, more=more))
        return self._run(ApiCall("POST", path), session)

    def _call(self, call: ApiCall, header: str) -> HttpResponse:
        return self._run(call, Session(self._url, lambda _method, **_rest: header))

    def _run(self, call: ApiCall, session: Session) -> HttpResponse:
        return self._transport.run(send(call, session))


def _take(found: dict[str, str], *names: str) -> tuple[str, ...]:
    if missing := [name for name in names if not found.get(name)]:
        raise UnexpectedAnswer(f"the answer lacks {' and '.join(missing)}")
    return tuple(found[name] for name in names)
