"""Shares, links for new passwords, second factors and mail addresses, on each database."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from contract.registry.conftest import NOW_S
from openengagement.engagement.permissions import Proof, Role
from openengagement.registry.accounts import Account
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.schema import PASSWORD_RESETS, RECOVERY_CODES, SECOND_FACTORS, SHARES
from openengagement.registry.second_factors import ProvenSecret
from openengagement.registry.sessions import NewSession, PasswordChanged
from openengagement.registry.shares import Refused, Share, ShareRefused

ANA, BEN, CLEO = (Actor(name, at) for at, name in enumerate(("ana", "Ben", "cleo"), 1))
OLD_S = NOW_S - 1800


@pytest.fixture
def registry(registry):
    for each in (ANA, BEN, CLEO):
        registry.accounts.add_account(Account(each.account_id, each.name, NOW_S))
    return registry


def share(view, owner, name, *, most=20):
    return view.shares.add(owner, name, most=most, now_s=NOW_S)


def refused(view, owner, name, **options):
    with pytest.raises(ShareRefused) as caught:
        share(view, owner, name, **options)
    return caught.value.reason


def use(view, owner, viewer, now_s=NOW_S):
    return view.shares.use(owner_id=owner.account_id, viewer_id=viewer.account_id, now_s=now_s)


def actions(view):
    return [(each.actor, each.action, each.subject) for each in view.audit.list_entries(limit=9)]


def count(view, table):
    with view.database.reading() as db:
        return db.scalar(sa.select(sa.func.count()).select_from(table))


# Shares.


def test_a_share(registry, other):
    assert share(registry, ANA, "BEN") == "Ben"
    assert share(registry, ANA, "ben") == "Ben"
    assert other.shares.list_viewers(1) == [Share(2, "Ben", NOW_S, None)]
    assert other.shares.list_owners(2) == [Share(1, "ana", NOW_S, None)]
    assert use(other, ANA, BEN) == Share(1, "ana", NOW_S, None)
    assert use(other, ANA, BEN, NOW_S + 10).last_used_s == NOW_S
    use(other, ANA, BEN, NOW_S + 400)
    assert registry.shares.list_viewers(1)[0].last_used_s == NOW_S + 400
    assert use(other, BEN, ANA) is None
    assert registry.shares.end(ANA, owner_id=1, viewer_id=2, now_s=NOW_S)
    assert use(other, ANA, BEN) is None
    assert not registry.shares.end(ANA, owner_id=1, viewer_id=2, now_s=NOW_S)
    assert actions(registry) == [("ana", "unshare", "Ben"), ("ana", "share", "Ben")]


def test_a_viewer_leaves(registry):
    share(registry, ANA, "ben")
    assert registry.shares.end(BEN, owner_id=1, viewer_id=2, now_s=NOW_S)
    assert actions(registry)[0] == ("Ben", "leave_share", "ana")


def test_refused_shares(registry, monkeypatch):
    assert refused(registry, ANA, "nobody") is Refused.UNKNOWN
    assert refused(registry, ANA, "ANA") is Refused.SELF
    assert refused(registry, ANA, "ben", most=0) is Refused.TOO_MANY
    assert refused(registry, Actor("erased", 99), "ben") is Refused.UNKNOWN
    monkeypatch.setattr("openengagement.registry.shares.SHARED_WITH_ONE_MAX", 1)
    share(registry, CLEO, "ben")
    assert refused(registry, ANA, "ben") is Refused.FULL
    assert actions(registry) == [("cleo", "share", "Ben")]


def test_limits_hold_for_shares_at_the_same_time(registry, other):
    """Two workers add the last share that is allowed."""

    def add(view, name):
        try:
            share(view, ANA, name, most=1)
        except ShareRefused as error:
            return error.reason

    with ThreadPoolExecutor(2) as pool:
        results = set(pool.map(add, (registry, other), ("ben", "cleo")))
    assert results == {None, Refused.TOO_MANY}


# Links for new passwords.


@pytest.fixture
def mailed(registry):
    """Ana has a password and a mail address."""
    registry.password_hashes.set_password(1, password_hash="old")
    registry.accounts.set_mails({1: "ana@example.org"})
    return registry


def add_link(view, token=b"token"):
    view.password_resets.add(1, token_hash=token, oldest_s=OLD_S, now_s=NOW_S)


def use_link(view, token=b"token", oldest_s=OLD_S):
    return view.password_resets.use(token, oldest_s=oldest_s, password_hash="new", now_s=NOW_S)


def test_a_link_sets_one_password(mailed, other):
    mailed.sessions.add_session(NewSession("s", b"s", 1, "Firefox", NOW_S))
    add_link(mailed)
    assert other.password_resets.find(b"token", oldest_s=OLD_S).screen_name == "ana"
    with ThreadPoolExecutor(2) as pool:
        used = list(pool.map(use_link, (mailed, other)))
    assert sorted(each is None for each in used) == [False, True]
    assert mailed.password_hashes.read_password_hash(1) == "new"
    assert mailed.sessions.list_sessions(1, oldest_s=0) == []
    assert [each for each in actions(mailed) if each[1] == "reset_password"] == [
        ("ana", "reset_password", "ana")
    ]


def test_links_that_are_not_valid(mailed):
    add_link(mailed, b"first")
    add_link(mailed, b"second")
    assert use_link(mailed, b"first") is None
    assert use_link(mailed, b"second", oldest_s=NOW_S + 1) is None
    assert use_link(mailed, b"unknown") is None
    assert mailed.password_hashes.read_password_hash(1) == "old"
    add_link(mailed)
    mailed.accounts.set_mails({1: "ana@example.org"})
    assert mailed.password_resets.find(b"token", oldest_s=OLD_S)
    mailed.accounts.set_mails({1: "other@example.org"})
    assert mailed.password_resets.find(b"token", oldest_s=OLD_S) is None
    add_link(mailed)
    mailed.password_hashes.set_password(1, password_hash="set by the operator")
    assert count(mailed, PASSWORD_RESETS) == 0


def test_old_links_are_removed(mailed):
    mailed.password_hashes.set_password(2, password_hash="ben's")
    add_link(mailed)
    mailed.password_resets.add(2, token_hash=b"t2", oldest_s=NOW_S + 1, now_s=NOW_S + 9999)
    assert count(mailed, PASSWORD_RESETS) == 1


def test_who_may_reset(mailed):
    find = mailed.password_resets.find_receiver
    assert find("ANA").mail == "ana@example.org"
    assert find("ben") is None  # no password, no address
    assert find("nobody") is None
    mailed.decisions.set_role(1, Role.MANAGER, actor=COMMAND_LINE, now_s=NOW_S)
    assert find("ana") is None
    assert turn_on(mailed)
    assert find("ana") is not None
    mailed.accounts.set_mails({1: ""})
    assert (find("ana"), mailed.accounts.read_mail(1)) == (None, None)


def test_a_change_of_the_password(mailed):
    mailed.password_hashes.change_password(ANA, old="old", new="new", now_s=NOW_S)
    with pytest.raises(PasswordChanged):
        mailed.password_hashes.change_password(ANA, old="old", new="newer", now_s=NOW_S)
    assert mailed.password_hashes.read_password_hash(1) == "new"


# Second factors.


def turn_on(view, *, step=7, session_id="s"):
    return view.second_factors.confirm(
        ANA,
        ProvenSecret(b"secret", step),
        code_hashes=[b"one", b"two"],
        session_id=session_id,
        now_s=NOW_S,
    )


def test_a_second_factor(registry, other):
    for name in ("s", "elsewhere"):
        registry.sessions.add_session(NewSession(name, name.encode(), 1, "Firefox", NOW_S))
    assert turn_on(registry)
    (session,) = other.sessions.list_sessions(1, oldest_s=0)
    assert (session.id, session.proof) == ("s", Proof.CODE)
    assert not turn_on(registry)
    assert other.second_factors.read(1).secret == b"secret"
    assert registry.second_factors.remove(1, actor=COMMAND_LINE, now_s=NOW_S)
    (session,) = other.sessions.list_sessions(1, oldest_s=0)
    assert session.proof == Proof.PASSWORD
    assert count(other, RECOVERY_CODES) == 0
    assert not registry.second_factors.remove(1, actor=COMMAND_LINE, now_s=NOW_S)
    assert actions(registry) == [
        ("command line", "second_factor_off", "ana"),
        ("ana", "second_factor_on", "ana"),
    ]


def test_an_erased_account_gets_no_second_factor(registry):
    nobody = Actor("nobody", 99)
    assert not registry.second_factors.confirm(
        nobody, ProvenSecret(b"secret", 7), code_hashes=[b"one"], session_id="s", now_s=NOW_S
    )
    assert count(registry, RECOVERY_CODES) == 0


def test_one_of_two_secrets_at_the_same_time_is_turned_on(registry, other):
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(turn_on, (registry, other))) == [False, True]
    assert count(registry, RECOVERY_CODES) == 2


def test_a_waiting_secret_of_an_older_version_is_replaced(registry):
    row = {"account_id": 1, "secret": b"waits", "confirmed_at_s": None, "last_step": 0}
    registry.database.change(SECOND_FACTORS.insert().values(row))
    assert turn_on(registry)
    assert registry.second_factors.read(1).secret == b"secret"


def test_each_code_is_accepted_once(registry, other):
    turn_on(registry)
    for use_one in (
        lambda view: view.second_factors.use_step(1, 8),
        lambda view: view.second_factors.use_code(1, b"one", now_s=NOW_S),
    ):
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(use_one, (registry, other))) == [False, True]
    assert not registry.second_factors.use_step(1, 7)
    assert not registry.second_factors.use_code(2, b"two", now_s=NOW_S)
    assert registry.second_factors.count_codes(1) == 1


def test_a_session_needs_the_factor_that_was_turned_on_meanwhile(registry):
    registry.password_hashes.set_password(1, password_hash="hash")
    turn_on(registry)
    with_password = NewSession("a", b"a", 1, "Firefox", NOW_S)
    with pytest.raises(PasswordChanged):
        registry.sessions.add_session(with_password, password_hash="hash")
    for at, proof in enumerate((Proof.CODE, Proof.PROVIDER)):
        new = NewSession(f"b{at}", b"b%d" % at, 1, "Firefox", NOW_S, proof)
        registry.sessions.add_session(new, password_hash="hash" if proof is Proof.CODE else None)


def test_an_erasure_removes_everything(mailed):
    share(mailed, ANA, "ben")
    share(mailed, BEN, "ana")
    add_link(mailed)
    turn_on(mailed)
    mailed.removal.begin_erasure(1, actor=COMMAND_LINE, now_s=NOW_S, has_tweets=False)
    for table in (SHARES, PASSWORD_RESETS, SECOND_FACTORS, RECOVERY_CODES):
        assert count(mailed, table) == 0, table
    names = {
        name for each in mailed.audit.list_entries(limit=50) for name in (each.actor, each.subject)
    }
    assert "ana" not in names
