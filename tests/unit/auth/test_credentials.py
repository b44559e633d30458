"""The key file, the credentials that are issued, and that no secret is stored in the clear."""

import os
import stat
import string
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from openengagement.auth.credentials import (
    Granted,
    hash_token,
    issue_access_token,
    issue_app,
    issue_bearer,
    issue_platform_key,
    revoke_bearer,
)
from openengagement.auth.keyring import KeyFileError, Keyring, open_keyring
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from support.folders import open_new_registry
from support.waiting import PATIENCE_S

NOW_S = 1_795_342_500
URL_SAFE = set(string.ascii_letters + string.digits + "-_")


@pytest.fixture
def keyring(tmp_path):
    return open_keyring(tmp_path / "server.key")


@pytest.fixture
def registry(tmp_path):
    opened = open_new_registry(tmp_path)
    opened.accounts.add_account(Account(1, "ana", NOW_S))
    yield opened
    opened.close()


@pytest.fixture
def make(registry, keyring):
    def app(name="app"):
        return issue_app(registry, keyring, form=AppForm(name, 1, ()), now_s=NOW_S)

    return app


# The key file.


def test_only_its_owner_may_read_the_key_file(tmp_path):
    mask = os.umask(0)
    try:
        open_keyring(tmp_path / "server.key")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["server.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o777])
def test_a_key_file_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "server.key"
    open_keyring(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_keyring(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_same_key_is_read_again(tmp_path, mode):
    path = tmp_path / "server.key"
    stored = open_keyring(path).encrypt("secret")
    path.chmod(mode)
    assert open_keyring(path).decrypt(stored) == "secret"


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"\x00" * 44, b"A" * 43])
def test_a_file_without_a_key_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "server.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a key file"):
        open_keyring(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 44])
def test_a_running_server_keeps_its_keys_if_the_file_becomes_unusable(tmp_path, capsys, content):
    path = tmp_path / "server.key"
    keyring = open_keyring(path)
    whole, stored = path.read_bytes(), keyring.encrypt("secret")
    path.write_bytes(content)
    for _ in range(3):
        assert keyring.decrypt(stored) == "secret"
        with pytest.raises(KeyFileError, match="not a key file"):
            keyring.verify_file()
    assert capsys.readouterr().err.count('"key_file_unusable"') == 1
    path.write_bytes(whole)
    keyring.verify_file()
    assert keyring.decrypt(stored) == "secret"


def test_keys_of_the_environment_have_no_file_to_verify(tmp_path):
    open_keyring(tmp_path / "none", Fernet.generate_key().decode()).verify_file()


CREATE = """
import sys
from pathlib import Path
from openengagement.auth.keyring import open_keyring
path = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(open_keyring(path).encrypt("secret").decode(), flush=True)
"""


def test_processes_that_create_it_at_once_share_one_key(tmp_path):
    path = tmp_path / "server.key"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CREATE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    stored = []
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        stored = [process.communicate(timeout=PATIENCE_S)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
    keyring = open_keyring(path)
    assert [keyring.decrypt(each.encode()) for each in stored] == ["secret"] * 3
    assert [each.name for each in tmp_path.iterdir()] == ["server.key"]


def test_a_file_left_by_a_crash_does_not_stop_a_start(tmp_path):
    """A process that died while it wrote the file leaves a temporary file behind."""
    (tmp_path / f"server.key.{os.getpid()}").write_bytes(b"half a k")
    open_keyring(tmp_path / "server.key")


# Rotation.


def test_an_older_key_still_decrypts():
    old, new = Fernet.generate_key(), Fernet.generate_key()
    stored = Keyring([old]).encrypt("secret")
    assert Keyring([new, old]).decrypt(stored) == "secret"
    with pytest.raises(KeyFileError, match="cannot be decrypted"):
        Keyring([new]).decrypt(stored)


def test_an_error_contains_no_secret():
    stored = Keyring([Fernet.generate_key()]).encrypt("very secret")
    with pytest.raises(KeyFileError) as caught:
        Keyring([Fernet.generate_key()]).decrypt(stored[:-4] + b"AAAA")
    assert "very secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_encrypted_twice_gives_two_texts(keyring):
    assert keyring.encrypt("secret") != keyring.encrypt("secret")


# Issued credentials.


def test_an_apps_key_and_secret(make, registry, keyring):
    made = make()
    stored = registry.apps.read_app(made.app_id)
    assert stored.consumer_key == made.consumer_key
    assert keyring.decrypt(stored.consumer_secret) == made.consumer_secret
    assert not stored.enabled
    assert (len(made.consumer_key), len(made.consumer_secret)) == (25, 50)
    other = make()
    assert other.app_id != made.app_id
    assert not {other.consumer_key, other.consumer_secret} & {
        made.consumer_key,
        made.consumer_secret,
    }


def test_an_access_token_begins_with_its_account_and_stays_the_same(make, registry, keyring):
    app_id = make().app_id

    def issue():
        return issue_access_token(registry, keyring, granted=Granted(app_id, 1), now_s=NOW_S)

    token, secret = issue()
    assert token.startswith("1-")
    assert len(token) == len("1-") + 40
    assert len(secret) == 45
    assert issue() == (token, secret)


def test_a_bearer_token_stays_until_it_is_revoked(make, registry, keyring):
    app_id = make().app_id

    def issue():
        return issue_bearer(registry, keyring, app=registry.apps.read_app(app_id))

    first = issue()
    assert first.startswith("AAAA")
    assert set(first) <= URL_SAFE
    assert issue() == first
    assert registry.apps.find_by_bearer(hash_token(first)).id == app_id
    revoke_bearer(registry, registry.apps.read_app(app_id))
    assert registry.apps.find_by_bearer(hash_token(first)) is None
    second = issue()
    assert second != first
    assert registry.apps.find_by_bearer(hash_token(first)) is None


def test_bearer_tokens_of_two_apps_differ(make, registry, keyring):
    tokens = {
        issue_bearer(registry, keyring, app=registry.apps.read_app(make().app_id)) for _ in range(3)
    }
    assert len(tokens) == 3


def test_a_bearer_token_survives_a_key_rotation(make, registry):
    old, new = Fernet.generate_key(), Fernet.generate_key()
    app_id = make().app_id
    token = issue_bearer(registry, Keyring([old]), app=registry.apps.read_app(app_id))
    rotated = Keyring([new, old])
    assert issue_bearer(registry, rotated, app=registry.apps.read_app(app_id)) == token
    revoke_bearer(registry, registry.apps.read_app(app_id))
    fresh = issue_bearer(registry, rotated, app=registry.apps.read_app(app_id))
    assert (
        fresh == issue_bearer(registry, Keyring([new]), app=registry.apps.read_app(app_id)) != token
    )


def test_revoking_a_bearer_token_that_was_replaced_changes_nothing(make, registry, keyring):
    app_id = make().app_id
    stale = registry.apps.read_app(app_id)
    first = issue_bearer(registry, keyring, app=stale)
    revoke_bearer(registry, registry.apps.read_app(app_id))
    second = issue_bearer(registry, keyring, app=registry.apps.read_app(app_id))
    revoke_bearer(registry, stale)
    assert registry.apps.find_by_bearer(hash_token(second)).id == app_id
    assert first != second


def test_a_platform_key(registry):
    key = issue_platform_key(registry, name="test", now_s=NOW_S)
    assert registry.platform_keys.find_platform_key(hash_token(key))
    assert not registry.platform_keys.find_platform_key(hash_token(key + "x"))
    assert issue_platform_key(registry, name="test", now_s=NOW_S) != key


# On the disk.


@pytest.mark.parametrize("checkpointed", [False, True])
def test_no_file_contains_a_secret_in_the_clear(tmp_path, registry, keyring, make, checkpointed):
    made = make()
    token, token_secret = issue_access_token(
        registry, keyring, granted=Granted(made.app_id, 1), now_s=NOW_S
    )
    bearer = issue_bearer(registry, keyring, app=registry.apps.read_app(made.app_id))
    platform_key = issue_platform_key(registry, name="test", now_s=NOW_S)
    if checkpointed:
        registry.close()
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    everything = b"".join(files.values())
    assert made.consumer_key.encode() in everything  # the search finds what is there
    assert token.encode() in everything
    secrets = (made.consumer_secret, token_secret, bearer, platform_key)
    for secret in secrets:
        for form in (secret, secret[5:-5], secret[::-1], secret.encode().hex()):
            assert form.encode() not in everything
        assert secret.encode("utf-16-le") not in everything
