"""Keys and passwords: rotation, keys in the environment, and revocation."""

import sqlite3
import time

import pytest
from cryptography.fernet import Fernet

from openengagement.auth.keyring import KeyFileError, open_keyring
from support.cli import call_command


@pytest.fixture(autouse=True)
def no_grace(monkeypatch):
    """No server is about to store a secret, except in the test that says so."""
    monkeypatch.setattr("openengagement.cli.keys.GRACE_S", 0.2)


def keys_of(data):
    return (data / "server.key").read_bytes().split()


def stored_secrets(data):
    db = sqlite3.connect(data / "registry.sqlite3")
    try:
        columns = ("consumer_secret FROM apps", "secret FROM access_tokens")
        return [row[0] for each in columns for row in db.execute(f"SELECT {each}")]
    finally:
        db.close()


def decryptable(keys, secrets):
    def one(key, secret):
        try:
            return bool(Fernet(key).decrypt(secret))
        except Exception:
            return False

    return [any(one(key, secret) for key in keys) for secret in secrets]


def test_rotation_encrypts_every_secret_with_the_new_key_and_keeps_the_old(run, data, owned_app):
    token = run("token", "issue", owned_app, "--json").json()
    bearer = run("token", "bearer", owned_app, "--json").json()
    (old,) = keys_of(data)

    assert run("key", "rotate", "--json").json() == {"reencrypted": 2, "unreadable": 0}

    new, *rest = keys_of(data)
    assert (rest, new == old) == ([old], False)
    assert decryptable([new], stored_secrets(data)) == [True, True]
    assert decryptable([old], stored_secrets(data)) == [False, False]
    assert (data / "server.key").stat().st_mode & 0o777 == 0o600
    assert run("token", "issue", owned_app, "--json").json() == token
    assert run("token", "bearer", owned_app, "--json").json() == bearer


def test_forgetting_old_keys_revokes_bearer_tokens(run, data, owned_app):
    bearer = run("token", "bearer", owned_app, "--json").json()
    token = run("token", "issue", owned_app, "--json").json()
    (old,) = keys_of(data)
    assert run("key", "rotate", "--forget-old").code == 0

    (new,) = keys_of(data)
    assert new != old
    assert decryptable([new], stored_secrets(data)) == [True, True]
    assert run("token", "issue", owned_app, "--json").json() == token
    assert run("token", "bearer", owned_app, "--json").json() != bearer


@pytest.mark.parametrize("more", [[], ["--forget-old"]])
def test_a_second_rotation_at_the_same_time_is_refused(run, data, owned_app, monkeypatch, more):
    """Otherwise it could delete the key that the first one has just created."""
    run("key", "rotate")
    ended = []
    monkeypatch.setattr(time, "sleep", lambda _: ended.append(run("key", "rotate", *more)))
    first = run("key", "rotate", "--forget-old", "--json")

    assert first.json() == {"reencrypted": 1, "unreadable": 0}
    assert (ended[0].code, ended[0].out) == (1, "")
    assert "another command is rotating the keys of this folder" in ended[0].err
    assert len(keys_of(data)) == 1
    assert decryptable(keys_of(data), stored_secrets(data)) == [True]
    assert run("key", "rotate").code == 0


@pytest.mark.parametrize(("grace_s", "text"), [(12.0, "Waiting 12 s"), (0.2, "Waiting 0.2 s")])
def test_the_command_says_how_long_it_waits(run, data, owned_app, monkeypatch, grace_s, text):
    monkeypatch.setattr("openengagement.cli.keys.GRACE_S", grace_s)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ended = run("key", "rotate", "--forget-old")
    assert f"{text} until servers" in ended.err
    assert "The old keys are deleted" in ended.err


def test_a_secret_that_cannot_be_decrypted_does_not_stop_the_rotation(run, data, owned_app):
    run("token", "issue", owned_app)
    db = sqlite3.connect(data / "registry.sqlite3")
    with db:
        db.execute(
            "UPDATE access_tokens SET secret = ?", (Fernet(Fernet.generate_key()).encrypt(b"x"),)
        )
    db.close()

    ended = run("key", "rotate", "--forget-old")
    assert "1 secrets cannot be decrypted with any key" in ended.err
    assert len(keys_of(data)) == 1
    assert run("key", "rotate", "--json").json() == {"reencrypted": 1, "unreadable": 1}


def test_keys_in_the_environment(run, data, monkeypatch):
    first, second = (run("key", "generate", "--json").json()["key"] for _ in range(2))
    assert run("key", "generate").out.strip() not in {first, second}
    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", first)
    run("account", "add", "ana")
    app_id = run("app", "add", "Dash", "--owner", "ana", "--json").json()["app_id"]
    token = run("token", "issue", app_id, "--json").json()
    assert not (data / "server.key").exists()

    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", f"{second}, {first}")
    assert run("key", "rotate", "--json").json() == {"reencrypted": 2, "unreadable": 0}
    printed = run("key", "rotate", "--forget-old").err
    assert "remove the old keys from OPENENGAGEMENT_SERVER_KEYS and restart the server" in printed
    assert "are deleted" not in printed
    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", second)
    assert run("token", "issue", app_id, "--json").json() == token
    monkeypatch.setenv("OPENENGAGEMENT_SERVER_KEYS", "not a key")
    assert "key generate" in run("token", "issue", app_id).err


def test_decrypting_with_another_key_is_an_error(tmp_path):
    stored = open_keyring(tmp_path / "one").encrypt("s")

    with pytest.raises(KeyFileError, match="cannot be decrypted"):
        open_keyring(tmp_path / "two").decrypt(stored)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_invalid_passwords_are_refused(run, data, owned_app, password):
    with pytest.raises(AssertionError, match="8 to 1024 characters"):
        call_command(data, "account", "password", "ana", "--stdin", stdin=f"{password}\n")


def test_a_new_password_revokes_access_tokens(run, data, owned_app):
    run("token", "issue", owned_app)
    first = call_command(data, "account", "password", "ana", "--stdin", stdin="first password\n")
    token = run("token", "issue", owned_app, "--json").json()
    second = call_command(data, "account", "password", "ana", "--stdin", stdin="another one\n")

    assert first == {"screen_name": "ana", "access_tokens_revoked": 0}
    assert second == {"screen_name": "ana", "access_tokens_revoked": 1}
    assert run("token", "issue", owned_app, "--json").json() != token
    assert "there is no account" in run("account", "password", "nobody", "--stdin").err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--callback", "https://a.example/#x"], "fragment"),
        (["--website", "myapp://x/"], "begins with https"),
        (["--description", "x" * 513], "at most 512"),
    ],
)
def test_invalid_apps_are_refused(run, owned_app, arguments, text):
    """The rules themselves are tested in tests/unit/apps/test_app_form.py."""
    ended = run("app", "add", "Dash", "--owner", "ana", *arguments)
    assert ended.code == 1
    assert text in ended.err


@pytest.mark.parametrize("name", ["", "abc\u202edcb"])
def test_invalid_app_names_are_refused(run, owned_app, name):
    assert "visible characters" in run("app", "add", name, "--owner", "ana").err


def test_a_rotation_removes_the_keys_that_a_killed_one_left(run, data, owned_app):
    """They could be the leaked ones."""
    left = data / ".server.key.abc123.new"
    left.write_bytes((data / "server.key").read_bytes())
    assert run("key", "rotate").code == 0
    assert not left.exists()
