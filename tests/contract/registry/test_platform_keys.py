"""Platform keys: several with one name, their last use, and revoking one of them."""

import pytest

from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.platform_keys import PlatformKey

NOW_S = 1_795_342_500
A, B, C = b"\xa0" * 32, b"\xb0" * 32, b"\xc0" * 32


@pytest.fixture
def keys(registry):
    for key_hash, name, now_s in ((B, "ingest", NOW_S + 1), (A, "ingest", NOW_S), (C, "x", NOW_S)):
        registry.platform_keys.add_platform_key(name=name, key_hash=key_hash, now_s=now_s)
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
    assert not other.platform_keys.has_platform_key(A)
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
