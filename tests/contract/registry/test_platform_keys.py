"""Platform keys: several with one name, their last use, and revoking one of them."""

import pytest

from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.platform_keys import PlatformKey, Scope

NOW_S = 1_795_342_500
A, B, C = b"\xa0" * 32, b"\xb0" * 32, b"\xc0" * 32


@pytest.fixture
def keys(registry):
    for key_hash, name, now_s in ((B, "ingest", NOW_S + 1), (A, "ingest", NOW_S), (C, "x", NOW_S)):
        registry.platform_keys.add_platform_key(PlatformKey(key_hash, name, now_s))
    return registry.platform_keys


def test_keys_are_listed_from_the_oldest(keys):
    found = keys.list_platform_keys()

    assert found == [
        PlatformKey(A, "ingest", NOW_S, None),
        PlatformKey(C, "x", NOW_S, None),
        PlatformKey(B, "ingest", NOW_S + 1, None),
    ]
    assert [key.id for key in found] == ["a0" * 6, "c0" * 6, "b0" * 6]


def test_only_the_revoked_key_is_gone(keys, registry, other):
    revoked = keys.list_platform_keys()[0]

    assert keys.revoke_platform_key(revoked, now_s=NOW_S + 9)
    assert other.platform_keys.find_platform_key(A) is None
    assert [key.key_hash for key in other.platform_keys.list_platform_keys()] == [C, B]
    (entry,) = registry.audit.list_entries(limit=9)
    assert (entry.action, entry.subject, entry.before) == ("revoke_key", "ingest", "a0" * 6)
    assert (entry.at_s, entry.actor, entry.actor_id) == (NOW_S + 9, COMMAND_LINE.name, None)


def test_a_key_is_revoked_and_recorded_once(keys, registry, other):
    revoked = keys.list_platform_keys()[0]
    outcomes = [
        each.platform_keys.revoke_platform_key(revoked, now_s=NOW_S) for each in (registry, other)
    ]

    assert outcomes == [True, False]
    assert len(registry.audit.list_entries(limit=9)) == 1


def test_a_last_use_is_stored_and_never_goes_backwards(keys):
    for at_s in (NOW_S + 5, NOW_S + 2):
        keys.apply_last_used({C: at_s, b"revoked": at_s})
    keys.apply_last_used({})

    used = {key.key_hash: key.last_used_s for key in keys.list_platform_keys()}
    assert used == {A: None, B: None, C: NOW_S + 5}


def test_scopes_and_expiry_are_stored(registry, other):
    limited = PlatformKey(A, "x", NOW_S, scopes="events usage", expires_at_s=NOW_S + 60)
    registry.platform_keys.add_platform_key(limited)
    registry.platform_keys.add_platform_key(PlatformKey(B, "x", NOW_S))

    assert other.platform_keys.find_platform_key(A) == limited
    assert [limited.allows(scope) for scope in Scope] == [True, False, True]
    assert [limited.is_expired(NOW_S + at) for at in (0, 59.9, 60, 61)] == [
        False,
        False,
        True,
        True,
    ]
    free = other.platform_keys.find_platform_key(B)
    assert all(map(free.allows, Scope))
    assert not free.is_expired(NOW_S + 10**9)
