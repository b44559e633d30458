"""npm's oauth-1.0a with node's HTTP, against the running server."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from requests.auth import HTTPBasicAuth

from support.calls import question
from support.waiting import PATIENCE_S

HERE = Path(__file__).parent
SCRIPT = HERE / "sign_and_send.mjs"
PATH = "/insights/engagement/totals"
GOOD = {"g": {"111": {"favorites": "4"}}}
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "oauth-1.0a").is_dir(),
        reason="oauth-1.0a is not installed; run `make interop`",
    ),
]


@pytest.fixture
def send(server, world):
    """Sign and send one request in node. Return the status and the parsed JSON body."""

    def run(path=PATH, *, app=world.main, user=True, place="header", through="fetch", **job):
        token = {"key": app.access_token, "secret": app.access_token_secret}
        job = {
            "url": server.url + path,
            "method": "POST",
            "consumer": {"key": app.consumer_key, "secret": app.consumer_secret},
            "token": token if user else None,
            "place": place,
            "through": through,
            **job,
        }
        done = subprocess.run(
            [NODE, str(SCRIPT)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return answer["status"], json.loads(answer["body"])

    return run


@pytest.mark.parametrize("through", ["fetch", "http"])
@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize("user", [True, False], ids=["user", "app alone"])
def test_totals(send, user, place, through):
    found = send(user=user, place=place, through=through, json=question("111"))
    assert found == (200, GOOD)


def test_private_metrics_and_timed_endpoints(send):
    body = question("111", types=("impressions", "engagements"))
    assert send(json=body) == (200, {"g": {"111": {"impressions": "40", "engagements": "27"}}})
    window = {"start": "2024-05-01T12:00:00Z", "end": "2024-05-01T15:00:00Z"}
    status, found = send("/insights/engagement/historical", json={**body, **window})
    assert (status, found["g"]) == (200, {"111": {"impressions": "20", "engagements": "17"}})
    status, found = send("/insights/engagement/28hr", json=body)
    assert (status, found["g"]) == (200, {"111": {"impressions": "0", "engagements": "0"}})


def test_body_hash(send):
    assert send(json=question("111"), bodyHash=True) == (200, GOOD)


@pytest.mark.parametrize("place", ["header", "query"])
@pytest.mark.parametrize(
    "query",
    [
        "a=1&b=2",
        "b=2&a=1",
        "q=caf%C3%A9",
        "q=Ladies%20%2B%20Gentlemen%21",
        "snowman=%E2%98%83&bird=%F0%9F%90%A6",
        "x=%21%2A%27%28%29",
    ],
)
def test_parameters_of_the_query(send, query, place):
    assert send(f"{PATH}?{query}", place=place, json=question("111")) == (200, GOOD)


@pytest.mark.parametrize("place", ["header", "query", "form"])
def test_a_signed_form(send, server, world, place):
    app = world.bobs
    basic = HTTPBasicAuth(app.consumer_key, app.consumer_secret)
    answer = server.client.send(
        "POST",
        "/oauth2/token",
        body="grant_type=client_credentials",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=basic,
    )
    token = answer.json()["access_token"]
    form = {"access_token": token, "note": "Dogs, Cats & Mice \u2603 \U0001f426 ~*'()!"}
    found = send("/oauth2/invalidate_token", app=app, place=place, form=form)
    assert found == (200, {"access_token": token})


def test_unicode_in_a_json_body(send):
    body = question("111", groupings={"größe \u2603": {"group_by": ["tweet.id"]}})
    assert send(json=body) == (200, {"größe \u2603": {"111": "4"}})


@pytest.mark.parametrize("through", ["fetch", "http"])
def test_errors_reach_node(send, world, through):
    status, found = send(through=through, json=question("211"))
    assert (status, found) == (403, {"errors": ["Forbidden to access tweets: 211"]})
    wrong = {"key": world.main.consumer_key, "secret": "wrong"}
    status, found = send(through=through, consumer=wrong, json=question("111"))
    text = "Your account could not be authenticated. Reason: Invalid signature"
    assert (status, found) == (401, {"errors": [text]})
