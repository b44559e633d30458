"""Two writers at once on each engine, with separate connections as two processes have.

Each place that reads, decides and writes relies on the credential lock, a row lock, or one atomic
statement; its comment says which. These tests run it in several threads at the same time.
"""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from openengagement.engagement.permissions import AccessLevel, Role
from openengagement.registry.accounts import Account, NameTaken
from openengagement.registry.apps import FIRST_APP_ID, AppForm, TooManyApps
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.decisions import NotManager, Outdated
from openengagement.registry.encrypted import reencrypt_secrets
from openengagement.registry.grants import OOB, AccessToken, RequestToken
from openengagement.registry.sessions import NewSession, PasswordChanged
from support.waiting import PATIENCE_S

NOW_S = 1_795_342_500
MONTH = "2026-11"
WRITERS = 6


@pytest.fixture
def race(registry, other):
    """Returns a function that calls `call(view, number)` in threads that start together."""

    def run(call, count=12):
        barrier = threading.Barrier(WRITERS)
        views = (registry, other)

        def work(first):
            barrier.wait()
            return [call(views[number % 2], number) for number in range(first, count, WRITERS)]

        with ThreadPoolExecutor(WRITERS) as pool:
            parts = list(pool.map(work, range(WRITERS)))
        return [result for part in parts for result in part]

    return run


@pytest.fixture
def app_id(registry, ana):
    return registry.apps.add_app(AppForm("app", 1, []), credentials=("key", b"s"), now_s=NOW_S)


@pytest.fixture
def pending(registry, app_id):
    """Makes a request token that ana has authorized."""

    def made(token):
        asked = RequestToken(token, app_id, b"s", OOB, AccessLevel.READ, NOW_S)
        registry.grants.add_request_token(asked, forget_before_s=0)
        assert registry.grants.authorize(token, account_id=1, verifier=b"v")
        return token

    return made


def access_token(app_id, name):
    return AccessToken(f"1-{name}", app_id, 1, b"secret")


def refusal_of(refusals, call):
    """The result of a call, or the class of its exception."""
    try:
        return call()
    except refusals as refusal:
        return type(refusal)


def test_a_change_of_credentials_waits_for_another(registry, other, app_id):
    """The credential lock itself: rows that are read under it do not change until the commit."""
    with ThreadPoolExecutor(1) as pool, registry.database.writing(credentials=True):
        waiting = pool.submit(other.apps.revoke_bearer, app_id)
        time.sleep(0.2)
        assert not waiting.done()
        assert registry.apps.read_app(app_id).bearer_generation == 0
        assert not waiting.done()
    assert registry.apps.read_app(app_id).bearer_generation == 1


def test_app_ids_never_collide(race, ana):
    made = race(
        lambda view, number: view.apps.add_app(
            AppForm("app", 1, []), credentials=(f"key {number}", b""), now_s=NOW_S
        ),
        24,
    )
    assert sorted(made) == list(range(FIRST_APP_ID, FIRST_APP_ID + 24))


def test_no_owner_gets_more_apps_than_the_limit(registry, race, ana):
    made = race(
        lambda view, number: refusal_of(
            TooManyApps,
            lambda: view.apps.add_app(
                AppForm("app", 1, []), credentials=(f"{number}", b""), now_s=NOW_S, apps_max=5
            ),
        )
    )
    assert made.count(TooManyApps) == 7
    assert len(registry.apps.list_owned(1)) == 5


def test_only_one_account_gets_a_screen_name(registry, race):
    """Whether accounts are added or applied; the others are refused."""
    found = race(
        lambda view, number: view.accounts.apply_accounts(
            [(number + 1, "same", None), (number + 1, f"own{number}", None)], now_s=NOW_S
        )
    )
    assert {} in found
    assert all(taken.keys() <= {0} for taken in found)
    added = race(
        lambda view, number: refusal_of(
            NameTaken, lambda: view.accounts.add_account(Account(100 + number, "one", NOW_S))
        )
    )
    assert added.count(None) == 1
    assert added.count(NameTaken) == 11


def test_two_writers_register_the_same_account(registry, race):
    """Both may find it missing, but the second must change it."""
    race(lambda view, number: view.accounts.apply_accounts([(7, f"n{number}", None)], now_s=NOW_S))
    assert registry.accounts.read_account(7).screen_name.startswith("n")


def test_two_writers_exchange_the_same_names(registry, race):
    rows = [(number, f"name{number}", None) for number in range(8)]
    registry.accounts.apply_accounts(rows[1:], now_s=NOW_S)

    def rotate(view, number):
        moved = [(1, "free", None), *((at, f"name{at - 1}", None) for at in range(2, 8))]
        back = [(at, f"name{at}", None) for at in range(7, 0, -1)]
        return view.accounts.apply_accounts(moved + back, now_s=NOW_S, atomic=True)

    assert race(rotate) == [{}] * 12
    names = [registry.accounts.read_account(at).screen_name for at in range(1, 8)]
    assert names == [f"name{at}" for at in range(1, 8)]


def test_a_request_token_is_redeemed_once(registry, race, app_id, pending):
    pending("r")
    found = race(
        lambda view, number: view.grants.redeem("r", access_token(app_id, number), now_s=NOW_S)
    )
    assert sum(token is not None for token in found) == 1


def test_request_tokens_redeemed_at_once_give_one_access_token(registry, race, app_id, pending):
    """Both may find no access token, but the second must return the token of the first."""
    for number in range(12):
        pending(f"r{number}")
    found = race(
        lambda view, number: view.grants.redeem(
            f"r{number}", access_token(app_id, number), now_s=NOW_S
        )
    )
    assert len({token.token for token in found}) == 1
    assert registry.grants.read_access_token(app_id=app_id, account_id=1) == found[0]


def test_only_one_of_several_replacements_is_live(registry, race, app_id):
    race(
        lambda view, number: view.grants.replace_access_token(
            access_token(app_id, number), now_s=NOW_S
        )
    )
    live = [n for n in range(12) if registry.grants.find_access_token(f"1-{n}")]
    assert len(live) == 1


def test_only_one_access_token_is_added(registry, race, app_id):
    given = race(
        lambda view, number: view.grants.add_access_token(access_token(app_id, number), now_s=NOW_S)
    )
    assert given.count(True) == 1


def test_a_request_token_is_authorized_and_used_once(registry, race, app_id):
    asked = RequestToken("r", app_id, b"s", OOB, AccessLevel.READ, NOW_S)
    registry.grants.add_request_token(asked, forget_before_s=0)
    done = race(lambda view, _: view.grants.authorize("r", account_id=1, verifier=b"v"))
    counted = race(lambda view, _: view.grants.count_attempt("r", attempts_max=5))
    used = race(lambda view, _: view.grants.drop_request_token("r"))
    assert (done.count(True), counted.count(True), used.count(True)) == (1, 5, 1)


def test_several_writers_delete_expired_request_tokens(registry, race, app_id):
    def ask(view, number):
        asked = RequestToken(f"r{number}", app_id, b"s", OOB, AccessLevel.READ, NOW_S + number)
        view.grants.add_request_token(asked, forget_before_s=NOW_S + number - 3)

    race(ask, 36)
    assert registry.grants.find_request_token("r35", oldest_s=0) is not None


def test_only_one_decision_is_based_on_the_same_page(registry, race, app_id):
    found = race(
        lambda view, number: refusal_of(
            Outdated,
            lambda: view.decisions.change_app(
                app_id,
                {"per_minute": number + 1},
                actor=COMMAND_LINE,
                now_s=NOW_S,
                known={"per_minute": None},
            ),
        )
    )
    assert Counter(found) == {True: 1, Outdated: 11}
    assert len(registry.audit.list_entries(limit=50)) == 1


def test_each_log_entry_begins_with_the_value_before_it(registry, race, app_id):
    race(
        lambda view, number: view.decisions.change_app(
            app_id, {"per_minute": number + 1}, actor=COMMAND_LINE, now_s=NOW_S
        )
    )
    entries = registry.audit.list_entries(limit=50)[::-1]
    assert len(entries) == 12
    assert [entry.before for entry in entries] == [None, *(entry.after for entry in entries[:-1])]


def test_one_of_two_managers_who_demote_each_other_remains(registry, other):
    for number in range(1, 11, 2):
        pair = [Account(at, f"m{at}", NOW_S, role=Role.MANAGER) for at in (number, number + 1)]
        for account in pair:
            registry.accounts.add_account(account)
        barrier = threading.Barrier(2)

        def demote(view, actor, account, barrier=barrier):
            barrier.wait()
            return refusal_of(
                NotManager,
                lambda: view.decisions.set_role(
                    account.id,
                    Role.MEMBER,
                    actor=Actor(actor.screen_name, actor.id),
                    now_s=NOW_S,
                ),
            )

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(demote, (registry, other), pair, pair[::-1]))
        assert sorted(map(str, found)) == sorted(map(str, [None, NotManager]))


def test_reencryption_does_not_overwrite_a_rotated_secret(registry, other, app_id):
    """The app gets a new secret after the rotation of the server's keys has read the old one."""
    read, rotated = threading.Event(), threading.Event()

    def reencrypt(stored):
        read.set()
        rotated.wait(0.3)  # under the credential lock, the new secret waits for this
        return b"new " + stored

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(reencrypt_secrets, registry.database, reencrypt)
        assert read.wait(PATIENCE_S)
        other.apps.replace_consumer(app_id, credentials=("key 2", b"fresh"))
        rotated.set()
        changing.result(PATIENCE_S)
    assert registry.apps.read_app(app_id).consumer_secret == b"fresh"


def test_only_one_bearer_token_is_stored_for_a_generation(registry, race, app_id):
    app = registry.apps.read_app(app_id)
    done = race(
        lambda view, number: view.apps.set_bearer(
            app, generation=1 + number, bearer_hash=b"%d" % number
        )
    )
    assert done.count(True) == 1
    race(lambda view, _: view.apps.revoke_bearer(app_id))
    assert registry.apps.read_app(app_id).bearer_generation > 12


def test_no_access_token_survives_a_change_of_the_password(registry, race, app_id):
    """Each token was revoked by a change, or was added after the last change."""
    registry.password_hashes.set_password(1, password_hash="first")

    def work(view, number):
        if number % 3:
            return view.password_hashes.set_password(1, password_hash=f"h{number}")
        return -int(view.grants.add_access_token(access_token(app_id, number), now_s=NOW_S))

    found = race(work, 24)
    given, revoked = -sum(n for n in found if n < 0), sum(n for n in found if n > 0)
    live = registry.grants.read_access_token(app_id=app_id, account_id=1)
    assert given == revoked + (live is not None)


def test_recording_last_uses_does_not_deadlock_with_revocations(registry, race, ana):
    """Both lock several access tokens, in the same order."""
    apps = [
        registry.apps.add_app(AppForm("app", 1, []), credentials=(f"k{at}", b""), now_s=NOW_S)
        for at in range(8)
    ]
    registry.password_hashes.set_password(1, password_hash="first")

    def work(view, number):
        tokens = [access_token(app_id, f"{app_id}-{number}") for app_id in apps]
        for token in tokens[:: (-1) ** number]:
            view.grants.replace_access_token(token, now_s=NOW_S)
        live = [view.grants.read_access_token(app_id=a, account_id=1) for a in apps]
        view.grants.apply_last_used({token.token: NOW_S for token in live[::-1] if token})
        if number % 4 == 0:
            view.password_hashes.set_password(1, password_hash=f"h{number}")
        return True

    assert race(work, 12) == [True] * 12


def test_no_session_of_an_old_password_survives_its_change(registry, race, ana):
    """Each session was ended by a change, or belongs to the last password."""
    registry.password_hashes.set_password(1, password_hash="h0")

    def work(view, number):
        if number % 4 == 0:
            view.password_hashes.set_password(1, password_hash=f"h{number}")
            return 0
        stored = view.password_hashes.read_password_hash(1)
        new = NewSession(f"{stored}-{number}", b"%d" % number, 1, "b", NOW_S)
        try:
            view.sessions.add_session(new, password_hash=stored)
        except PasswordChanged:
            return 0
        return 1

    race(work, 48)
    last = registry.password_hashes.read_password_hash(1)
    live = [session.id for session in registry.sessions.list_sessions(1, oldest_s=0)]
    assert {each.partition("-")[0] for each in live} <= {last}


def test_an_old_password_begins_no_session(registry, other, ana):
    registry.password_hashes.set_password(1, password_hash="old")
    new = NewSession("id", b"secret", 1, "b", NOW_S)
    for hashed in ("old", None):
        registry.sessions.add_session(new, password_hash=hashed)
        assert registry.sessions.end_session("id", account_id=1)
    other.password_hashes.set_password(1, password_hash="new")
    with pytest.raises(PasswordChanged):
        registry.sessions.add_session(new, password_hash="old")
    assert registry.sessions.list_sessions(1, oldest_s=0) == []
    registry.sessions.add_session(new, password_hash="new")
    assert len(registry.sessions.list_sessions(1, oldest_s=0)) == 1


def test_the_sessions_of_an_account_are_limited(registry, race, ana):
    def sign_in(view, number):
        view.sessions.add_session(NewSession(f"id{number}", b"%d" % number, 1, "b", NOW_S))

    race(sign_in, 48)
    race(lambda view, number: sign_in(view, number + 100), 24)
    assert len(registry.sessions.list_sessions(1, oldest_s=0)) == 50


def test_usage_of_two_workers_adds_up(registry, race, ana, app_id):
    others = [(number, f"user{number}", False) for number in range(30) if number != ana.id]
    registry.accounts.apply_accounts(others, now_s=NOW_S)

    def flush(view, number):
        handles = [(MONTH, app_id, at % 30) for at in range(number, number + 20)]
        outcomes = ["ok", "rate_limited", "nonce_used"][:: (-1) ** number]
        view.usage.add_usage({(MONTH, app_id, name): 2 for name in outcomes}, handles)

    race(flush, 24)
    used = registry.usage.read_app_usage(app_id, [MONTH])[MONTH]
    assert (used.requests, used.errors) == (144, {"rate_limited": 48, "nonce_used": 48})
    assert used.handles == 30


def test_the_counts_of_the_app_list_are_integers(registry, app_id):
    """PostgreSQL adds up BIGINT as NUMERIC."""
    from openengagement.registry.app_list import Search

    registry.usage.add_usage({(MONTH, app_id, "ok"): 3, (MONTH, app_id, "x"): 2}, [])
    (listed,) = registry.app_list.list_apps(Search(), month=MONTH, limit=9)
    assert (listed.requests, listed.refused) == (5, 2)
    assert {type(listed.requests), type(listed.refused)} == {int}


def test_many_first_starts_at_once(engine):
    engine.drop_tables()
    with ThreadPoolExecutor(4) as pool:
        views = list(pool.map(lambda _: engine.open_view(), range(4)))
    for view in views:
        assert view.accounts.find_account("ana") is None


def test_a_password_is_rehashed_unless_it_changed(registry, other, ana):
    registry.password_hashes.set_password(1, password_hash="old")
    other.password_hashes.set_password(1, password_hash="changed")
    registry.password_hashes.rehash_password(1, old="old", new="rehashed")
    assert registry.password_hashes.read_password_hash(1) == "changed"
    assert replace(ana) == registry.accounts.read_account(1)
