"""Platform keys: several with one name, their last use, and revoking one of them."""

import pytest

from openengagement.engagement.permissions import Role
from openengagement.registry.accounts import Account
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.decisions import NotManager
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
    entry, *issued = registry.audit.list_entries(limit=9)
    assert (entry.action, entry.subject, entry.before) == ("revoke_key", "ingest", "a0" * 6)
    assert (entry.at_s, entry.actor, entry.actor_id) == (NOW_S + 9, COMMAND_LINE.name, None)
    assert [(each.action, each.actor) for each in issued] == [("issue_key", COMMAND_LINE.name)] * 3


def test_a_key_is_revoked_and_recorded_once(keys, registry, other):
    revoked = keys.list_platform_keys()[0]
    outcomes = [
        each.platform_keys.revoke_platform_key(revoked, now_s=NOW_S) for each in (registry, other)
    ]

    assert outcomes == [True, False]
    assert len(registry.audit.list_entries(limit=9, text="revoke_key")) == 1


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


def test_only_managers_issue_and_revoke_keys_in_the_console(registry):
    for number, role in ((7, Role.MANAGER), (8, Role.MEMBER)):
        registry.accounts.add_account(Account(number, f"person{number}", NOW_S, role=role))
    manager, member = Actor("person7", 7), Actor("person8", 8)
    keys, key = registry.platform_keys, PlatformKey(A, "ingest", NOW_S)
    with pytest.raises(NotManager):
        keys.add_platform_key(key, actor=member)
    assert keys.list_platform_keys() == []
    keys.add_platform_key(key, actor=manager)
    with pytest.raises(NotManager):
        keys.revoke_platform_key(key, now_s=NOW_S, actor=member)
    assert keys.list_platform_keys() == [key]
    assert keys.revoke_platform_key(key, now_s=NOW_S + 1, actor=manager)
    entries = registry.audit.list_entries(limit=9)
    assert [(each.action, each.actor, each.before) for each in entries] == [
        ("revoke_key", "person7", "a0" * 6),
        ("issue_key", "person7", "a0" * 6),
    ]
    found = {
        text: len(registry.audit.list_entries(limit=9, text=text))
        for text in ("INGEST", "@person7", "issue_key", "100", "%", "nobody")
    }
    assert found == {"INGEST": 2, "@person7": 2, "issue_key": 1, "100": 0, "%": 0, "nobody": 0}


def test_accounts_are_searched_by_name_id_and_role(registry):
    people = ((7, "Anna", Role.MANAGER), (8, "hanna", Role.MEMBER), (77, "bo_", Role.MEMBER))
    for number, name, role in people:
        registry.accounts.add_account(Account(number, name, NOW_S, role=role))

    def found(text, role=None, **page):
        accounts = registry.accounts.search_accounts(text, role, **{"limit": 9, **page})
        return [each.id for each in accounts]

    assert found("") == [7, 77, 8]
    assert found("", limit=1, skip=1) == [77]
    assert found("@ANNA") == [7, 8]
    assert found("7") == [7]
    assert found("_") == [77]
    assert found("anna", Role.MEMBER) == [8]
    assert registry.accounts.count_accounts("anna", None) == 2
