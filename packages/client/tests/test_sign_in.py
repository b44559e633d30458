"""Signing in: by PIN, by callback, and for the app alone; the profile that keeps the result."""

import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

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
from openengagement_client.command_line import signing_in
from openengagement_client.profiles import (
    profiles_path,
    read_names,
    read_profile,
    write_profile,
)
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


def get(url):
    return httpx.get(url, timeout=PATIENCE_S)


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
    assert get(callback.replace("/back", "/favicon.ico")).status_code == 404
    assert "close this page" in get(target).text
    assert "Signed in as @alice" in end(process)
    found = load_profile(profile="default", environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert impressions(found.url, found.credentials) == "40"


@pytest.mark.heavy
def test_callbacks_of_others_are_ignored(own_server, alice, tmp_path):
    """Any page that is open in the browser can send one. It neither ends nor takes the sign-in."""
    callback = f"http://127.0.0.1:{free_port()}/back"
    app = app_of(own_server, "Callback of others", "--callback", callback)
    process = start(own_server, app, tmp_path, "login", "--callback", callback)
    process.stdout.readline()
    url = process.stdout.readline().strip()
    with socket.create_connection(("127.0.0.1", urlsplit(callback).port)):  # says nothing
        for query in (
            "",
            "?oauth_token=other&oauth_verifier=x",
            "?oauth_verifier=x",
            "?denied=x",
            "?oauth_token=%C3%A9&oauth_verifier=x",
        ):
            assert get(callback + query).status_code == 404
    assert "close this page" in get(alice.authorize(url)).text
    assert "Signed in as @alice" in end(process)


def test_a_refusal_of_the_person_ends_the_sign_in(own_server, tmp_path):
    callback = f"http://127.0.0.1:{free_port()}/back"
    app = app_of(own_server, "Refused", "--callback", callback)
    process = start(own_server, app, tmp_path, "login", "--callback", callback)
    process.stdout.readline()
    token = parse_qs(urlsplit(process.stdout.readline().strip()).query)["oauth_token"][0]
    assert get(f"{callback}?denied={token}").status_code == 200
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (1, "oe: the page was left without a consent\n")


def test_a_callback_that_cannot_be_listened_to(own_server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        callback = f"http://127.0.0.1:{taken.getsockname()[1]}/back"
        app = app_of(own_server, "Taken port", "--callback", callback)
        process = start(own_server, app, tmp_path, "login", "--callback", callback)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err == f"oe: cannot listen on {callback}: Address already in use\n"


@pytest.mark.parametrize(
    "callback", ["http://evil.example:80/back", "https://127.0.0.1:8081/back", "http://127.0.0.1/"]
)
def test_a_callback_to_another_machine_is_refused(callback):
    with pytest.raises(ConfigurationError, match="not on this machine"):
        signing_in._Listener(callback, "token")


def test_nobody_decides(monkeypatch):
    monkeypatch.setattr(signing_in, "_WAIT_S", 0.1)
    with (
        signing_in._Listener(f"http://127.0.0.1:{free_port()}/", "token") as listener,
        pytest.raises(ConfigurationError, match="nobody decided"),
    ):
        listener.wait()


def test_a_profile_file_may_be_a_link(tmp_path):
    """The file that it leads to is replaced, and the link stays."""
    target, path = tmp_path / "dotfiles" / "oe.toml", tmp_path / "profiles.toml"
    write_profile(target, "a", fields={"url": "x"})
    path.symlink_to(target)
    write_profile(path, "b", fields={"url": "y"})
    assert path.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert read_names(path) == ["a", "b"]
    target.chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read"):
        read_names(path)


def test_a_profile_file_of_another_user_is_refused(tmp_path, monkeypatch):
    """Whoever owns it could have written a URL of their own into it."""
    path = tmp_path / "profiles.toml"
    write_profile(path, "a", fields={"url": "x"})
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:  # nobody else may give a file away: be somebody else
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        read_profile(path, "a", names=[])


def test_a_profile_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_profile(tmp_path / "file" / "profiles.toml", "a", fields={"url": "x"})


def test_a_failed_write_leaves_the_profiles_as_they_were(tmp_path, monkeypatch):
    path = tmp_path / "profiles.toml"
    write_profile(path, "a", fields={"url": "x"})
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(ConfigurationError, match="cannot write"):
        write_profile(path, "b", fields={"url": "y"})
    assert read_names(path) == ["a"]
    assert [each.name for each in tmp_path.iterdir()] == ["profiles.toml"]


def test_the_command_for_the_app_alone(own_server, tmp_path):
    app = app_of(own_server, "Command for the app")
    assert "the app alone" in end(start(own_server, app, tmp_path, "login", "--app-only"))
    found = load_profile(profile="default", environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert found.credentials.bearer_token
