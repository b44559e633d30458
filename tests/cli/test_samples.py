"""The sample code for tokens, run by a user against a running server."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from requests_oauthlib import OAuth1

from support.fixtures import server, servers, world
from support.flows import OWNERS_FIGURES, OWNERS_QUESTION, PASSWORD, add_consumer, set_password
from support.person import Person
from support.waiting import PATIENCE_S

__all__ = ["server", "servers", "world"]

SAMPLES = Path(__file__).parents[2] / "examples" / "sample_code"


def start(name, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SAMPLES / name), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def app(server):
    return add_consumer(server, "Sample")


@pytest.fixture
def environment(server, app, tmp_path):
    path = tmp_path / "app.env"
    lines = (
        f"ENGAGEMENT_API_URL={server.url}",
        f"CONSUMER_KEY={app.key}",
        f"CONSUMER_SECRET={app.secret}",
    )
    path.write_text("\n".join(lines))
    return path


def test_an_access_token_by_pin(server, app, environment):
    set_password(server, "alice")
    script = start("authorize_with_pin.py", "--env", str(environment))
    url = script.stderr.readline().split()[-1]
    with Person(server.url, "alice", PASSWORD) as alice:
        pin = alice.authorize_pin(url)
    out, err = script.communicate(f"{pin}\n", timeout=PATIENCE_S)

    assert script.returncode == 0, err
    owner, *lines = out.splitlines()
    assert owner == "# @alice"
    keys = dict(line.split("=", 1) for line in lines)
    asked = requests.post(
        f"{server.url}/insights/engagement/totals",
        json=OWNERS_QUESTION,
        auth=signed(app, keys),
        timeout=PATIENCE_S,
    )
    assert asked.json() == OWNERS_FIGURES


def signed(app, keys):
    return OAuth1(app.key, app.secret, keys["ACCESS_TOKEN"], keys["ACCESS_TOKEN_SECRET"])


def test_a_wrong_pin_is_explained(environment):
    script = start("authorize_with_pin.py", "--env", str(environment))
    script.stderr.readline()
    _, err = script.communicate("1234567\n", timeout=PATIENCE_S)

    assert script.returncode == 1
    assert "check the digits" in err
    assert "Invalid oauth_verifier parameter" in err


def test_a_bearer_token_by_prompt(server, app):
    script = start("prompt_bearer_token.py", "--url", server.url)
    out, err = script.communicate(f"{app.key}\n{app.secret}\n", timeout=PATIENCE_S)

    assert script.returncode == 0, err
    assert out.strip() == server.command("token", "bearer", app.app_id)["access_token"]


def test_a_wrong_secret_gets_no_bearer_token(server, app):
    script = start("prompt_bearer_token.py", "--url", server.url)
    _, err = script.communicate(f"{app.key}\nwrong\n", timeout=PATIENCE_S)

    assert script.returncode == 1
    assert "Unable to verify your credentials" in err
