"""Signing in: by PIN, by callback, and for the app alone; the profile that keeps the result."""

import os
import subprocess
import sys
import tomllib

import httpx
import pytest

from openengagement_client import (
    ConfigurationError,
    Credentials,
    EngagementClient,
    Forbidden,
    Unauthorized,
    load_profile,
)
from openengagement_client.profiles import profiles_path, read_profile, write_profile
from openengagement_client.sign_in import SignIn
from support.flows import PASSWORD, add_consumer, set_password
from support.person import Person
from support.server import Server, free_port
from support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def own_server(world):
    with Server(world) as running:
        set_password(running, "alice")
        yield running


@pytest.fixture
def alice(own_server):
    with Person(own_server.url, "alice", PASSWORD) as person:
        yield person


def app_of(server, name, *options):
    made = add_consumer(server, name, *options)
    return Credentials(consumer_key=made.key, consumer_secret=made.secret)


def impressions(url, credentials):
    with EngagementClient(url, credentials) as client:
        return client.totals(["111"], ["impressions"])["totals"]["111"]["impressions"]


def test_a_person_by_pin(own_server, alice):
    with SignIn(own_server.url, app_of(own_server, "By PIN")) as sign_in:
        request = sign_in.request_token()
        found = sign_in.access_token(request, alice.authorize_pin(request.url))
        assert (found.user_id, found.screen_name) == ("101", "alice")
        assert impressions(own_server.url, found.credentials) == "40"
        sign_in.revoke(found.credentials)
        with pytest.raises(Unauthorized):
            sign_in.revoke(found.credentials)
    with pytest.raises(Unauthorized):
        impressions(own_server.url, found.credentials)


def test_a_wrong_pin(own_server):
    with SignIn(own_server.url, app_of(own_server, "Wrong PIN")) as sign_in:
        request = sign_in.request_token()
        assert request.secret not in repr(request)
        with pytest.raises(Unauthorized, match="oauth_verifier"):
            sign_in.access_token(request, "1234567")


def test_the_app_alone(own_server):
    with SignIn(own_server.url, app_of(own_server, "Alone")) as sign_in:
        credentials = sign_in.bearer_token()
        with EngagementClient(own_server.url, credentials) as client:
            assert client.totals(["211"], ["favorites"])["totals"] == {"211": {"favorites": "6"}}
        sign_in.revoke(credentials)
        with EngagementClient(own_server.url, credentials) as client, pytest.raises(Unauthorized):
            client.totals(["211"], ["favorites"])


def test_a_wrong_secret(own_server):
    wrong = Credentials(consumer_key="x", consumer_secret="y")
    with SignIn(own_server.url, wrong) as sign_in:
        with pytest.raises(Unauthorized) as caught:
            sign_in.request_token()
        assert caught.value.codes == (32,)
        with pytest.raises(Forbidden, match="Unable to verify"):
            sign_in.bearer_token()


def test_profiles_are_kept_and_private(tmp_path):
    path = tmp_path / "new" / "profiles.toml"
    fields = {"url": "https://x.example", "bearer_token": 'a"\\b\u00e9%2F'}
    write_profile(path, "a b.c", fields=fields)
    write_profile(path, "other", fields={"url": "y"})
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_profile(path, "a b.c", names=["bearer_token"]) == fields
    write_profile(path, "other", fields=None)
    assert list(tomllib.loads(path.read_text())) == ["a b.c"]
    assert [each.name for each in path.parent.iterdir()] == ["profiles.toml"]
    path.chmod(0o644)
    with pytest.raises(ConfigurationError):
        write_profile(path, "other", fields={})


def start(server, app, tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "openengagement_client", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "XDG_CONFIG_HOME": str(tmp_path),
            "ENGAGEMENT_API_URL": server.url,
            "CONSUMER_KEY": app.consumer_key,
            "CONSUMER_SECRET": app.consumer_secret,
            "BROWSER": "true",
        },
    )


def end(process, text=None):
    out, err = process.communicate(text, timeout=PATIENCE_S)
    assert process.returncode == 0, err
    return out


def test_the_command_by_pin(own_server, alice, tmp_path):
    app = app_of(own_server, "Command by PIN")
    process = start(own_server, app, tmp_path, "login", "alice")
    process.stdout.readline()
    pin = alice.authorize_pin(process.stdout.readline().strip())
    out = end(process, f"{pin}\n")
    assert "Signed in as @alice" in out
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert profiles_path(environment).stat().st_mode & 0o777 == 0o600
    found = load_profile(profile="alice", environment=environment)
    assert impressions(found.url, found.credentials) == "40"
    assert found.credentials.access_token_secret not in out
    assert "removed" in end(start(own_server, app, tmp_path, "logout", "alice"))
    with pytest.raises(Unauthorized):
        impressions(found.url, found.credentials)
    with pytest.raises(ConfigurationError):
        load_profile(profile="alice", environment=environment)


def test_the_command_by_callback(own_server, alice, tmp_path):
    callback = f"http://127.0.0.1:{free_port()}/back"
    app = app_of(own_server, "Command by callback", "--callback", callback)
    process = start(own_server, app, tmp_path, "login", "--callback", callback)
    process.stdout.readline()
    target = alice.authorize(process.stdout.readline().strip())
    assert httpx.get(callback.replace("/back", "/favicon.ico")).status_code == 404
    assert "close this page" in httpx.get(target).text
    assert "Signed in as @alice" in end(process)
    found = load_profile(profile="default", environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert impressions(found.url, found.credentials) == "40"


def test_the_command_for_the_app_alone(own_server, tmp_path):
    app = app_of(own_server, "Command for the app")
    assert "the app alone" in end(start(own_server, app, tmp_path, "login", "--app-only"))
    found = load_profile(profile="default", environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert found.credentials.bearer_token
