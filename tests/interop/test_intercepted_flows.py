"""Clients with built-in hosts, unmodified, reach an intercepting sandbox by its environment.

The PHP scripts send the requests of two PHP libraries; curl and hash_hmac are PHP's own.
"""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.dialogue import Talk, authorize, without_proxy
from support.flows import OOB
from support.person import Person
from support.sandbox import sandbox_in

HERE = Path(__file__).parent
NODE, PHP, PERL = (shutil.which(name) for name in ("node", "php", "perl"))
TOTALS, LAST_28_HOURS = "/insights/engagement/totals", "/insights/engagement/28hr"

pytestmark = pytest.mark.heavy
needs_node = pytest.mark.skipif(
    NODE is None or not (HERE / "node_modules" / "twitter-api-v2").is_dir(),
    reason="node or its packages are not installed; run `make interop`",
)
HAS_CURL = (
    PHP is not None
    and b"curl" in subprocess.run([PHP, "-m"], capture_output=True, check=True).stdout.split()
)
needs_php = pytest.mark.skipif(
    not HAS_CURL, reason="PHP with curl is not installed (Debian: php-cli, php-curl)"
)
HAS_LWP = (
    PERL is not None
    and not subprocess.run(
        [PERL, "-MLWP::Protocol::https", "-e", "1"], capture_output=True, check=False
    ).returncode
)
needs_perl = pytest.mark.skipif(
    not HAS_LWP, reason="LWP is not installed (Debian: libwww-perl, liblwp-protocol-https-perl)"
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """twitter-lite and the Explorer need the setting; the others would not."""
    folder = tmp_path_factory.mktemp("flows") / "a b"
    with sandbox_in(folder, lenient_access_token_signature="true") as one:
        one.printed = one.start_with_json()
        yield one


@pytest.fixture
def demo(sandbox):
    return sandbox.printed


@pytest.fixture
def environment(demo):
    return without_proxy(os.environ) | demo["intercept"]["environment"]


@pytest.fixture(params=["callback", "pin"])
def callback(request, demo):
    return demo["callback"] if request.param == "callback" else OOB


@pytest.fixture
def run(sandbox, demo, environment):
    """Run a client to its end; the demo author authorizes it."""

    def run(*command, callback, **job):
        types = ["impressions", "favorites"]
        question = {"tweet_ids": demo["tweet_ids"][:2], "engagement_types": types}
        asked = question | {"groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}}}
        job = {
            "consumer": {"key": demo["consumer_key"], "secret": demo["consumer_secret"]},
            "callback": callback,
            "ask": [{"path": path, "body": asked} for path in (TOTALS, LAST_28_HOURS)],
            **job,
        }
        with (
            Talk(*command, env=environment) as talk,
            Person(sandbox.url, demo["screen_name"], demo["password"]) as person,
        ):
            talk.say(job)
            if "token" not in job:
                url = urlsplit(talk.hear()["open"])
                assert url.netloc in {"api.x.com", "api.twitter.com"}
                talk.say(authorize(person, f"{sandbox.url}{url.path}?{url.query}"))
            return talk.hear()

    return run


def assert_is_the_owner(result, demo):
    assert result["user"]["screen_name"] == demo["screen_name"]
    owner = {"userId": result["user"]["id_str"], "screenName": demo["screen_name"]}
    assert result["owner"] == owner
    assert result["token"]["key"].startswith(f"{owner['userId']}-")


@needs_node
def test_twitter_api_v2_logs_in(run, demo, callback):
    result = run(NODE, HERE / "flow_twitter_api_v2.mjs", callback=callback)
    assert_is_the_owner(result, demo)
    totals, last = result["answers"]
    assert set(totals["g"]) == set(last["g"]) == set(demo["tweet_ids"][:2])
    resources = result["limits"]["resources"]
    assert resources["account"]["/account/verify_credentials"]["limit"] == 75
    assert len(resources["insights"]) == 3


@needs_node
def test_twitter_lite(run, demo, callback):
    result = run(NODE, HERE / "flow_twitter_lite.mjs", callback=callback)
    assert_is_the_owner(result, demo)
    assert result["confirmed"] == "true"


@needs_php
def test_twitteroauth(run, demo, callback):
    assert_is_the_owner(run(PHP, HERE / "flow_twitteroauth.php", callback=callback), demo)


@needs_php
def test_the_explorer_signs_with_its_owners_token(run, demo, callback):
    owner = {"key": demo["access_token"], "secret": demo["access_token_secret"]}
    script = HERE / "flow_twitteroauth.php"
    assert_is_the_owner(run(PHP, script, callback=callback, owner=owner), demo)


@needs_php
def test_j7mbo_asks_two_endpoints_in_one_second(run, demo):
    token = {"key": demo["access_token"], "secret": demo["access_token_secret"]}
    answers = run(PHP, HERE / "requests_j7mbo.php", callback=None, token=token)
    assert [answer["status"] for answer in answers] == [200, 200, 401]
    assert set(answers[0]["body"]["g"]) == set(demo["tweet_ids"][:2])
    assert answers[1]["body"]["g"]
    assert "Nonce already used" in answers[2]["body"]["errors"][0]


@needs_perl
def test_perls_lwp(environment):
    script = "print LWP::UserAgent->new->get('https://api.twitter.com/health')->content"
    done = subprocess.run(
        [PERL, "-MLWP::UserAgent", "-e", script], capture_output=True, check=True, env=environment
    )
    assert done.stdout == b'{"status":"ok"}', done.stderr
