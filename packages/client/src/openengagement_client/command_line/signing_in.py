"""`oe login` and `oe logout`: get credentials into a profile, and end them."""

import os
import webbrowser
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import monotonic
from typing import Annotated, Final, Self
from urllib.parse import parse_qsl, urlsplit

import typer

from openengagement_client.credentials import (
    DEFAULT_PROFILE,
    Credentials,
    Profile,
    load_profile,
    profile_fields,
)
from openengagement_client.errors import ConfigurationError, Unauthorized
from openengagement_client.profiles import profiles_path, write_profile
from openengagement_client.sign_in import PIN, SignedIn, SignIn

_LOOPBACK: Final = ("127.0.0.1", "localhost")
_WAIT_S: Final = 300
_REQUEST_S: Final = 5
_PAGE: Final = b"<!doctype html><title>oe</title><p>You may close this page and return to oe."


def login(
    profile: Annotated[
        str, typer.Argument(help="the name of the profile to write")
    ] = DEFAULT_PROFILE,
    url: Annotated[str | None, typer.Option(help="the server")] = None,
    callback: Annotated[
        str | None,
        typer.Option(help="a callback URL of the app on this machine; without it, a PIN is asked"),
    ] = None,
    app_only: Annotated[
        bool, typer.Option("--app-only", help="get the app's bearer token, for no user")
    ] = False,
) -> None:
    """Get an access token for a person, or a bearer token, and store it in a profile.

    The app's key and secret come from CONSUMER_KEY and CONSUMER_SECRET, in the environment or .env,
    or are asked for.
    """
    base, app = _find_app(url)
    with SignIn(base, app) as sign_in:
        if app_only:
            name, credentials = "the app alone", sign_in.bearer_token()
        else:
            signed_in = _ask_person(sign_in, callback)
            name, credentials = f"@{signed_in.screen_name}", signed_in.credentials
    path = profiles_path(os.environ)
    write_profile(path, profile, fields=profile_fields(Profile(base, credentials)))
    print(f"Signed in as {name}. The profile {profile!r} is in {path}.")


def logout(
    profile: Annotated[str, typer.Argument(help="the profile to end")] = DEFAULT_PROFILE,
) -> None:
    """End the token of a profile on the server, and remove the profile."""
    found = load_profile(profile=profile)
    try:
        with SignIn(found.url, found.credentials) as sign_in:
            sign_in.revoke(found.credentials)
    except Unauthorized:
        print("The token had ended before.")
    write_profile(profiles_path(os.environ), profile, fields=None)
    print(f"The profile {profile!r} is removed.")


def _find_app(url: str | None) -> tuple[str, Credentials]:
    found = load_profile(url)
    given = found.credentials
    if given.consumer_key:
        key, secret = given.consumer_key, given.consumer_secret
    else:
        key = typer.prompt("The app's key")
        secret = typer.prompt("The app's secret", hide_input=True)
    return found.url, Credentials(consumer_key=key, consumer_secret=secret)


def _ask_person(sign_in: SignIn, callback: str | None) -> SignedIn:
    request = sign_in.request_token(callback or PIN)
    invitation = f"Open this page and decide:\n{request.url}"
    if callback is None:
        print(invitation, flush=True)
        return sign_in.access_token(request, typer.prompt("The PIN of the page").strip())
    with _Listener(callback, request.token) as listener:
        print(invitation, flush=True)
        webbrowser.open(request.url)
        return sign_in.access_token(request, listener.wait())


class _Listener:
    """Waits for the browser at a callback URL on this machine.

    A callback counts only with the request token of this sign-in. Others are ignored: any page or
    program on this machine could send one.
    """

    def __init__(self, callback: str, token: str) -> None:
        parts = urlsplit(callback)
        if parts.scheme != "http" or parts.hostname not in _LOOPBACK or not parts.port:
            raise ConfigurationError(
                f"{callback} is not on this machine; register http://127.0.0.1:8081/back or similar"
            )
        self._path, self._token = parts.path or "/", token
        self._answered: dict[str, str] = {}
        handler = type("Handler", (_Handler,), {"listener": self})
        try:
            self._server = HTTPServer(("127.0.0.1", parts.port), handler)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {callback}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.server_close()

    def take(self, target: str) -> bool:
        """Take the query of a callback for this sign-in, and ignore any other request."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        token = query.get("oauth_token", query.get("denied", ""))
        if parts.path != self._path or not compare_digest(token.encode(), self._token.encode()):
            return False
        self._answered = query
        return True

    def wait(self) -> str:
        """Wait for the browser, and return the verifier.

        Raises:
            ConfigurationError: the person refused, or nobody decided in time.
        """
        deadline_s = monotonic() + _WAIT_S
        while not self._answered:
            self._server.timeout = deadline_s - monotonic()
            if self._server.timeout <= 0:
                raise ConfigurationError(f"nobody decided within {_WAIT_S} seconds")
            self._server.handle_request()
        if not (verifier := self._answered.get("oauth_verifier")):
            raise ConfigurationError("the page was left without a consent")
        return verifier


class _Handler(BaseHTTPRequestHandler):
    listener: _Listener
    timeout = _REQUEST_S  # a connection that sends nothing holds up the next one

    def do_GET(self) -> None:
        is_callback = self.listener.take(self.path)
        self.send_response(200 if is_callback else 404)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(_PAGE if is_callback else b"")

    def log_message(self, *_args: object) -> None:
        """Print nothing: the query holds the verifier."""
