"""The three-legged flow through Python's client libraries, used as documented."""

import contextlib
import warnings

import pytest
import requests
import tweepy
from authlib.deprecate import AuthlibDeprecationWarning
from authlib.integrations import requests_client
from oauthlib.oauth1 import Client
from requests_oauthlib import OAuth1Session
from requests_oauthlib.oauth1_session import TokenMissing, TokenRequestDenied

from support.flows import (
    CALLBACK,
    ESCAPED_CALLBACK,
    OOB,
    OWNERS_FIGURES,
    OWNERS_QUESTION,
    PASSWORD,
    RECENT_QUESTION,
    Endpoints,
    add_consumer,
    assert_is_28_hours,
    assert_is_alice,
    set_password,
)
from support.person import Person, query_of

with warnings.catch_warnings():
    # Authlib warns that it prefers httpx2.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.integrations import httpx_client


class RequestsOauthlib:
    """requests-oauthlib's session."""

    def __init__(self, at, consumer, callback):
        self.at = at
        self.session = OAuth1Session(consumer.key, consumer.secret, callback_uri=callback)
        self.session.trust_env = False

    def begin(self):
        """Get a request token. Return the URL to which the person must go."""
        answer = self.session.fetch_request_token(self.at.request_token)
        assert answer["oauth_callback_confirmed"] == "true"
        return self.session.authorization_url(self.at.authorize)

    def take_callback(self, url):
        self.session.parse_authorization_response(url)
        return self.session.fetch_access_token(self.at.access_token)

    def take_pin(self, pin):
        return self.session.fetch_access_token(self.at.access_token, verifier=pin)

    def get(self, url):
        return self.session.get(url)

    def ask(self, url, body):
        return self.session.post(url, json=body)

    def close(self):
        self.session.close()


class AuthlibRequests(RequestsOauthlib):
    """Authlib's session on requests. It also sends its callback with every later request."""

    def __init__(self, at, consumer, callback):
        self.at = at
        self.session = requests_client.OAuth1Session(
            consumer.key, consumer.secret, redirect_uri=callback
        )
        self.session.trust_env = False

    def begin(self):
        self.session.fetch_request_token(self.at.request_token)
        return self.session.create_authorization_url(self.at.authorize)


class AuthlibHttpx(AuthlibRequests):
    """Authlib's client on httpx. Without an option it drops a JSON body."""

    def __init__(self, at, consumer, callback):
        self.at = at
        self.session = httpx_client.OAuth1Client(
            consumer.key,
            consumer.secret,
            redirect_uri=callback,
            force_include_body=True,
            trust_env=False,
        )


class Tweepy:
    """tweepy's handler, with the host replaced, and requests with its signer."""

    def __init__(self, at, consumer, callback):
        class Redirected(tweepy.OAuth1UserHandler):
            def _get_oauth_url(self, endpoint):
                return f"{at.host}/oauth/{endpoint}"

        self.handler = Redirected(consumer.key, consumer.secret, callback=callback)
        self.http = requests.Session()
        self.http.trust_env = False

    def begin(self, **options):
        return self.handler.get_authorization_url(**options)

    def take_callback(self, url):
        return self.take_pin(query_of(url)["oauth_verifier"])

    def take_pin(self, pin):
        token, secret = self.handler.get_access_token(pin)
        return {"oauth_token": token, "oauth_token_secret": secret}

    def get(self, url):
        return self.http.get(url, auth=self.handler.apply_auth())

    def ask(self, url, body):
        return self.http.post(url, json=body, auth=self.handler.apply_auth())

    def close(self):
        self.handler.oauth.close()
        self.http.close()


LIBRARIES = {
    "requests-oauthlib": RequestsOauthlib,
    "Authlib on requests": AuthlibRequests,
    "Authlib on httpx": AuthlibHttpx,
    "tweepy": Tweepy,
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


def assert_acts_for_alice(client, at):
    """The signed calls at the end of every flow."""
    answer = client.get(at.verify_credentials)
    assert answer.status_code == 200, answer.text
    assert_is_alice(answer.json())
    answer = client.ask(at.totals, OWNERS_QUESTION)
    assert (answer.status_code, answer.json()) == (200, OWNERS_FIGURES)
    answer = client.ask(at.last_28_hours, RECENT_QUESTION)
    assert answer.status_code == 200, answer.text
    assert_is_28_hours(answer.json())


def test_callback(library, at, web_app, alice):
    with contextlib.closing(library(at, web_app, CALLBACK)) as client:
        returned = alice.authorize(client.begin())
        # The registered parameters are unchanged; two are added.
        assert returned.startswith(f"{CALLBACK}&")
        assert set(query_of(returned)) == {
            *query_of(CALLBACK),
            "oauth_token",
            "oauth_verifier",
        }
        token = client.take_callback(returned)
        assert token["oauth_token"].startswith("101-")
        if library is not Tweepy:  # which discards these
            assert (token["user_id"], token["screen_name"]) == ("101", "alice")
        assert_acts_for_alice(client, at)


def test_pin(library, at, desktop_app, alice):
    with contextlib.closing(library(at, desktop_app, OOB)) as client:
        pin = alice.authorize_pin(client.begin())
        assert len(pin) == 7
        assert pin.isdecimal()
        client.take_pin(pin)
        assert_acts_for_alice(client, at)


@pytest.mark.parametrize("library", [RequestsOauthlib, Tweepy])
def test_a_callback_with_escapes(library, at, web_app, alice):
    """It returns unchanged. (Authlib decodes it once too often when it signs.)"""
    with contextlib.closing(library(at, web_app, ESCAPED_CALLBACK)) as client:
        returned = alice.authorize(client.begin())
        assert returned.startswith(f"{ESCAPED_CALLBACK}&oauth_token=")
        client.take_callback(returned)
        assert_acts_for_alice(client, at)


def test_the_flow_of_twitters_own_samples(at, desktop_app, alice):
    """The request token call has its callback in the query, and the rest in the header."""
    app = {"client_key": desktop_app.key, "client_secret": desktop_app.secret}

    def session(**more):
        made = OAuth1Session(**app, **more)
        made.trust_env = False
        return contextlib.closing(made)

    with session() as first:
        wanted = f"{at.request_token}?oauth_callback=oob&x_auth_access_type=write"
        fetched = first.fetch_request_token(wanted)
        pin = alice.authorize_pin(first.authorization_url(at.authorize))
    request = {
        "resource_owner_key": fetched["oauth_token"],
        "resource_owner_secret": fetched["oauth_token_secret"],
    }
    with session(**request, verifier=pin) as second:
        token = second.fetch_access_token(at.access_token)
    granted = {
        "resource_owner_key": token["oauth_token"],
        "resource_owner_secret": token["oauth_token_secret"],
    }
    with session(**granted) as third:
        answer = third.post(at.totals, json=OWNERS_QUESTION)
        assert (answer.status_code, answer.json()) == (200, OWNERS_FIGURES)


def test_the_same_token_again(at, web_app, alice):
    tokens = []
    for library in (RequestsOauthlib, AuthlibRequests):
        with contextlib.closing(library(at, web_app, CALLBACK)) as client:
            tokens.append(client.take_callback(alice.authorize(client.begin())))
    assert tokens[0]["oauth_token"] == tokens[1]["oauth_token"]
    assert tokens[0]["oauth_token_secret"] == tokens[1]["oauth_token_secret"]


def test_denial(at, web_app, alice):
    with contextlib.closing(RequestsOauthlib(at, web_app, CALLBACK)) as client:
        url = client.begin()
        token = query_of(url)["oauth_token"]
        link = alice.cancel(url)
        assert link == f"{CALLBACK}&denied={token}"
        with pytest.raises(TokenMissing):
            client.session.parse_authorization_response(link)
        with pytest.raises(TokenRequestDenied):
            client.take_pin("1234567")


def test_denial_of_a_desktop_app(at, desktop_app, alice):
    with contextlib.closing(RequestsOauthlib(at, desktop_app, OOB)) as client:
        assert alice.cancel(client.begin()) is None
        with pytest.raises(TokenRequestDenied):
            client.take_pin("1234567")


def test_a_double_click_shows_the_same_pin(at, desktop_app, alice):
    with contextlib.closing(RequestsOauthlib(at, desktop_app, OOB)) as client:
        page = alice.consent_page(client.begin())
        first, second = (alice.answer(page, "authorize").text("pin") for _ in range(2))
        assert first == second
        assert client.take_pin(first)["screen_name"] == "alice"
        assert alice.answer(page, "authorize").status == 403


def test_a_double_click_ends_at_the_same_callback(at, web_app, alice):
    with contextlib.closing(RequestsOauthlib(at, web_app, CALLBACK)) as client:
        page = alice.consent_page(client.begin())
        first, second = (alice.answer(page, "authorize").left_for for _ in range(2))
        assert first == second
        client.take_callback(first)


def test_an_access_is_shown_only_to_the_person_who_granted_it(server, at, desktop_app, alice):
    set_password(server, "dave")
    with contextlib.closing(RequestsOauthlib(at, desktop_app, OOB)) as client:
        url = client.begin()
        with Person(server.url, "dave", PASSWORD) as dave:
            page = dave.consent_page(url)
            alice.authorize_pin(url)
            assert dave.answer(page, "authorize").status == 403
            assert dave.answer(page, "cancel").status == 403
            assert dave.open(url).status == 403


def test_a_mistyped_pin(at, desktop_app, alice):
    with contextlib.closing(RequestsOauthlib(at, desktop_app, OOB)) as client:
        pin = alice.authorize_pin(client.begin())
        with pytest.raises(TokenRequestDenied, match="Invalid oauth_verifier parameter"):
            client.take_pin(str((int(pin) + 1) % 10_000_000).zfill(7))
        assert client.take_pin(pin)["screen_name"] == "alice"


def test_a_forced_sign_in(at, web_app, alice):
    """`force_login` asks a signed-in person for the password. The name is filled in."""
    alice.sign_in()
    with contextlib.closing(RequestsOauthlib(at, web_app, CALLBACK)) as client:
        client.begin()
        url = client.session.authorization_url(
            at.authorize, force_login="true", screen_name="alice"
        )
        form = alice.open(url).form_with("screen_name", "password")
        assert ("screen_name", "alice") in form.fields
        client.take_callback(alice.authorize(url))
        assert_acts_for_alice(client, at)


def test_tweepy_signs_in_with_twitter(at, web_app, alice):
    """`authenticate` asks for consent once. Later it redirects, also from the sign-in page."""
    with contextlib.closing(Tweepy(at, web_app, CALLBACK)) as client:
        client.take_callback(alice.authorize(client.begin()))
        page = alice.open(client.begin(signin_with_twitter=True))
        assert page.left_for is not None, page
        client.take_callback(page.left_for)
        assert_acts_for_alice(client, at)
        alice.sign_out()
        page = alice.consent_page(client.begin(signin_with_twitter=True))
        assert page.left_for is not None, page
        client.take_callback(page.left_for)
        assert_acts_for_alice(client, at)


def test_tweepy_asks_to_read_only(server, at, alice):
    """`x_auth_access_type` is in the query of a request token call signed in the header."""
    options = ["--callback", CALLBACK, "--access", "read-write"]
    for wanted, level in (({"access_type": "read"}, "read"), ({}, "read-write")):
        app = add_consumer(server, f"Harbour Pilot, {level}", *options)
        with contextlib.closing(Tweepy(at, app, CALLBACK)) as client:
            client.take_callback(alice.authorize(client.begin(**wanted)))
            answer = client.get(at.verify_credentials)
            assert answer.headers["x-access-level"] == level
            assert_acts_for_alice(client, at)


WRITE = "delete Tweets for you"


@pytest.fixture
def app(server, request):
    options = ["--callback", CALLBACK, "--access", "read-write", "--sign-in"]
    return add_consumer(server, f"Harbour {request.node.name}"[:100], *options)


def half(page, id_):
    """Return the text of the list under the heading with this id."""
    before, _, after = page.html.partition(f'id="{id_}"')
    assert before
    return after.partition("</section>")[0]


def level_after(client, at, callback):
    token = client.take_callback(callback)
    return token, client.get(at.verify_credentials).headers["x-access-level"]


def test_a_repeated_consent_replaces_the_permission_of_the_token(at, app, alice):
    tokens = []
    for wanted, level in (
        ({}, "read-write"),
        ({"access_type": "read"}, "read"),
        ({}, "read-write"),
    ):
        with contextlib.closing(Tweepy(at, app, CALLBACK)) as client:
            url = client.begin(**wanted)
            page = alice.consent_page(url)
            assert (WRITE in half(page, "can")) == (level == "read-write")
            assert (WRITE in half(page, "cannot")) == (level == "read")
            token, got = level_after(client, at, alice.authorize(url))
            assert got == level
            tokens.append(token["oauth_token"])
    assert len(set(tokens)) == 1


def test_more_permissions_need_a_new_consent(at, app, alice):
    with contextlib.closing(Tweepy(at, app, CALLBACK)) as client:
        client.take_callback(alice.authorize(client.begin(access_type="read")))
    with contextlib.closing(Tweepy(at, app, CALLBACK)) as client:
        url = client.begin(access_type="read").replace("/authorize?", "/authenticate?")
        assert alice.open(url).left_for is not None
    with contextlib.closing(Tweepy(at, app, CALLBACK)) as client:
        asked = alice.open(client.begin(signin_with_twitter=True))
        assert asked.left_for is None
        assert WRITE in half(asked, "can")


def exchange_signed_with(client, at, consumer, *, token, verifier, secret):
    signer = Client(
        consumer.key,
        client_secret=consumer.secret,
        resource_owner_key=token,
        resource_owner_secret=secret,
        verifier=verifier,
    )
    url, headers, _ = signer.sign(at.access_token, http_method="POST")
    return client.post(url, headers=headers)


@pytest.mark.parametrize("lenient", [False, True])
def test_loose_signatures_of_the_access_token_call(servers, lenient):
    settings = {"lenient_access_token_signature": "true"} if lenient else {}
    server = servers(**settings)
    at = Endpoints(server.url)
    set_password(server, "bob")
    consumer = add_consumer(server, "Harbour Loose", "--callback", CALLBACK)
    owners = server.command("token", "issue", consumer.app_id)["access_token_secret"]
    with Person(server.url, "bob", PASSWORD) as bob:
        for secret, taken in (("", lenient), (owners, lenient), ("wrong", False)):
            with contextlib.closing(RequestsOauthlib(at, consumer, CALLBACK)) as app:
                back = query_of(bob.authorize(app.begin()))
            answer = exchange_signed_with(
                bob.http,
                at,
                consumer,
                token=back["oauth_token"],
                verifier=back["oauth_verifier"],
                secret=secret,
            )
            assert (answer.status_code == 200) == taken, answer.text


def test_request_tokens_are_rate_limited(servers):
    server = servers(request_tokens_per_minute="3")
    at = Endpoints(server.url)
    consumer = add_consumer(server, "Harbour Flood", "--callback", CALLBACK)
    told = []
    for _ in range(8):  # a new minute may begin once
        with contextlib.closing(RequestsOauthlib(at, consumer, CALLBACK)) as app:
            try:
                app.begin()
            except TokenRequestDenied as error:
                told.append(error.status_code)
    assert set(told) == {429}
    assert len(told) >= 2
