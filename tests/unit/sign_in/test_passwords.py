"""Verifying a password while its hash changes: another sign-in, or a new password."""

import subprocess
import sys
from contextlib import closing

import pytest
from argon2 import PasswordHasher

from openengagement.limits.opening import open_limits
from openengagement.registry.accounts import Account
from openengagement.registry.opening import open_registry
from openengagement.sign_in import passwords
from openengagement.sign_in.passwords import Guess, Passwords

NOW_S = 1_795_342_500
WEAK = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
STRONGER = {**WEAK, "time_cost": 2}
GUESS = Guess("ana", ("10.0.0.1/32",), None)
OLD = PasswordHasher(**WEAK).hash("the password")


@pytest.fixture
def registry(tmp_path):
    with closing(open_registry(tmp_path)) as opened:
        opened.accounts.add_account(Account(1, "ana", NOW_S))
        opened.password_hashes.set_password(1, password_hash=OLD)
        yield opened


@pytest.fixture
def verify(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(**STRONGER))
    with closing(open_limits(tmp_path)) as limits:
        checked = Passwords(registry, limits, now_s=lambda: NOW_S)
        yield lambda: checked.verify(GUESS, "the password")


def stored(registry):
    return registry.password_hashes.read_password_hash(1)


def meanwhile(registry, monkeypatch, act):
    """Call `act` once, when a hash has been verified and is about to be replaced."""
    replace = registry.password_hashes.rehash_password

    def rehash(*given, **named):
        monkeypatch.setattr(registry.password_hashes, "rehash_password", replace)
        act()
        return replace(*given, **named)

    monkeypatch.setattr(registry.password_hashes, "rehash_password", rehash)


def test_a_weaker_hash_is_replaced(registry, verify):
    verified = verify()
    assert verified.password_hash == stored(registry) != OLD
    assert verify().password_hash == verified.password_hash


def test_two_sign_ins_at_once_succeed(registry, verify, monkeypatch):
    """Both verify the old hash, and one of them is second to replace it."""
    first = []
    meanwhile(registry, monkeypatch, lambda: first.append(verify()))
    second = verify()
    assert first[0].password_hash == second.password_hash == stored(registry) != OLD


def test_a_password_that_is_changed_meanwhile_is_refused(registry, verify, monkeypatch):
    new = PasswordHasher(**STRONGER).hash("another password")
    meanwhile(
        registry,
        monkeypatch,
        lambda: registry.password_hashes.set_password(1, password_hash=new),
    )
    assert verify() is None
    assert stored(registry) == new


def test_the_costs_of_a_hash():
    """Those of RFC 9106 for little memory. The quick tests use lower ones, except with -I."""
    program = "from openengagement.sign_in.passwords import hash_password as h; print(h('a' * 8))"
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
