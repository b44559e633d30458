"""The three-legged flow through client libraries of other languages, in their own processes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from support.dialogue import Talk, authorize
from support.flows import (
    CALLBACK,
    OOB,
    OWNERS_FIGURES,
    OWNERS_QUESTION,
    RECENT_QUESTION,
    add_consumer,
    assert_is_28_hours,
    assert_is_alice,
)

HERE = Path(__file__).parent
ADDRESSES = (
    "host",
    "request_token",
    "authorize",
    "authenticate",
    "access_token",
    "verify_credentials",
)
NODE, RUBY = shutil.which("node"), shutil.which("ruby")

pytestmark = pytest.mark.heavy
needs_node = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "passport-twitter").is_dir(),
        reason="the packages are not installed; run `make interop`",
    ),
]


@pytest.fixture
def run(at, alice):
    """Run a client to its end. `person` gets the URL and returns the outcome."""

    def run(*command, consumer, callback, person=None, **job):
        asked = [(at.totals, OWNERS_QUESTION), (at.last_28_hours, RECENT_QUESTION)]
        job = {
            "consumer": {"key": consumer.key, "secret": consumer.secret},
            "callback": callback,
            "at": {name: getattr(at, name) for name in ADDRESSES},
            "ask": [{"url": url, "body": body} for url, body in asked],
            **job,
        }
        with Talk(*command) as talk:
            talk.say(job)
            url = talk.hear()["open"]
            talk.say(person(url) if person else authorize(alice, url))
            return talk.hear()

    return run


@pytest.fixture(params=["callback", "pin"])
def way(request, web_app, desktop_app):
    """The app with a callback URL, and the app that uses PINs."""
    if request.param == "callback":
        return {"consumer": web_app, "callback": CALLBACK}
    return {"consumer": desktop_app, "callback": OOB}


def assert_acted_for_alice(result):
    assert result["token"]["key"].startswith("101-")
    assert_is_alice(result["user"])
    totals, last_28_hours = result["answers"]
    assert totals == OWNERS_FIGURES
    assert_is_28_hours(last_28_hours)


class TestNode:
    """npm's oauth-1.0a, oauth and passport-twitter."""

    pytestmark = needs_node

    @pytest.mark.parametrize("place", ["header", "query", "form"])
    def test_oauth_1_0a(self, run, way, place):
        result = run(NODE, HERE / "flow_oauth_1_0a.mjs", place=place, **way)
        assert_acted_for_alice(result)

    @pytest.mark.parametrize("version", ["1.0", "1.0A"])
    def test_oauth(self, run, way, version):
        result = run(NODE, HERE / "flow_oauth.mjs", version=version, **way)
        assert result["confirmed"] == {"oauth_callback_confirmed": "true"}
        assert result["owner"] == {"user_id": "101", "screen_name": "alice"}
        assert_acted_for_alice(result)

    def passport(self, run, consumer, **job):
        return run(
            NODE, HERE / "flow_passport_twitter.mjs", consumer=consumer, callback=CALLBACK, **job
        )

    def test_passport_twitter(self, run, web_app):
        result = self.passport(run, web_app)
        assert_is_alice(result["user"])
        assert result["profile"] == {"id": "101", "username": "alice"}
        assert result["access_level"] in {"read", "read-write", "read-write-directmessages"}
        assert result["owner"] == {"user_id": "101", "screen_name": "alice"}

    def test_passport_twitter_forces_a_sign_in(self, run, alice, web_app):
        """The options of the strategy reach the sign-in page, also with an open session."""
        alice.sign_in()

        def person(url):
            page = alice.open(url)
            form = page.form_with("screen_name", "password")
            assert ("screen_name", "alice") in form.fields
            return authorize(alice, url)

        options = {"forceLogin": True, "screenName": "alice"}
        assert_is_alice(self.passport(run, web_app, person=person, sign_in=options)["user"])

    def test_passport_twitter_learns_of_a_denial(self, run, alice, server):
        stranger = add_consumer(server, "Somebody's Charts", "--callback", CALLBACK)
        result = self.passport(run, stranger, person=lambda url: {"callback": alice.cancel(url)})
        assert result == {"failed": True}


@pytest.fixture(scope="session")
def ruby():
    """The path of a Ruby that has the oauth gem."""
    if (
        RUBY is None
        or subprocess.run(
            [RUBY, "-r", "oauth", "-e", ""], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("ruby's oauth is not installed (Debian: ruby-oauth)")
    return RUBY


class TestRuby:
    """Debian's ruby-oauth, which adds `oauth_body_hash` to every body except forms."""

    @pytest.mark.parametrize(
        ("scheme", "method"),
        [
            ("header", "post"),
            ("header", "get"),
            ("body", "post"),
            ("query_string", "post"),
            ("query_string", "get"),
        ],
    )
    def test_oauth(self, ruby, run, way, scheme, method):
        result = run(ruby, HERE / "flow_oauth.rb", scheme=scheme, method=method, **way)
        assert result["hashes_bodies"]
        assert result["owner"] == {"user_id": "101", "screen_name": "alice"}
        assert_acted_for_alice(result)
