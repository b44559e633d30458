"""Removing apps and erasing accounts: everything of them goes, and nothing of others."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from openengagement.engagement.permissions import AccessLevel, Role
from openengagement.registry.accounts import Account, NameTaken
from openengagement.registry.apps import AppForm, AppRemoved
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.grants import OOB, AccessToken, RequestToken
from openengagement.registry.removal import ERASED_ACCOUNT, ERASED_APP, Removed
from openengagement.registry.schema import METADATA
from openengagement.registry.sessions import NewSession, PasswordChanged
from openengagement.registry.usage import ERASED_HANDLE

NOW_S = 1_795_342_500
NOVEMBER = "2026-11"
ID, NAME = 2126287304677921922, "Persephone.Quill"  # the erased account
OTHER_ID, OTHER = 2226287304677921921, "Basil"
APP_NAME = "Quillcharts"
# Files of SQLite have random bytes, in which a short text occurs by chance.
KEY, OTHER_KEY = "consumer-key-1", "consumer-key-2"


def add_app(registry, owner_id, name, key):
    form = AppForm(name, owner_id, [f"https://{name}.example/back"], "https://x.example", "Charts")
    return registry.apps.add_app(form, credentials=(key, b"s" + key.encode()), now_s=NOW_S)


def give(registry, app_id, account_id):
    token = AccessToken(f"{account_id}-token{app_id}", app_id, account_id, b"secret")
    assert registry.grants.add_access_token(token, now_s=NOW_S)
    return token


def start_session(registry, account_id, name):
    new = NewSession(name, name.encode(), account_id, "Firefox", NOW_S)
    registry.sessions.add_session(new)


def ask(registry, app_id, token, account_id=None):
    request = RequestToken(token, app_id, b"s", OOB, AccessLevel.READ, NOW_S)
    registry.grants.add_request_token(request, forget_before_s=0)
    if account_id:
        assert registry.grants.authorize(token, account_id=account_id, verifier=b"v")


@pytest.fixture
def world(registry):
    """Two accounts that use each other's apps. Returns the App IDs, the erased account's first."""
    for number, name in ((ID, NAME), (OTHER_ID, OTHER)):
        registry.accounts.add_account(Account(number, name, NOW_S, role=Role.MANAGER))
    own, others = (
        add_app(registry, ID, APP_NAME, KEY),
        add_app(registry, OTHER_ID, "Tides", OTHER_KEY),
    )
    for app_id in (own, others):
        for number in (ID, OTHER_ID):
            give(registry, app_id, number)
        ask(registry, app_id, f"pending{app_id}")
        ask(registry, app_id, f"decided{app_id}", OTHER_ID)
    ask(registry, others, "mine", ID)
    start_session(registry, ID, "s1")
    start_session(registry, ID, "s2")
    start_session(registry, OTHER_ID, "s3")
    registry.password_hashes.set_password(OTHER_ID, password_hash="$argon2id$other")
    used = {(NOVEMBER, app_id, number) for app_id in (own, others) for number in (ID, OTHER_ID)}
    registry.usage.add_usage({(NOVEMBER, own, "ok"): 3, (NOVEMBER, others, "ok"): 4}, used)
    decisions = registry.decisions
    decisions.change_app(own, {"enabled": True}, actor=Actor(OTHER, OTHER_ID), now_s=NOW_S)
    decisions.change_app(others, {"enabled": True}, actor=Actor(NAME, ID), now_s=NOW_S)
    decisions.set_role(ID, Role.MEMBER, actor=COMMAND_LINE, now_s=NOW_S)
    decisions.set_role(OTHER_ID, Role.MEMBER, actor=COMMAND_LINE, now_s=NOW_S)
    return own, others


def erase(registry, account_id=ID, **options):
    options = {"actor": COMMAND_LINE, "now_s": NOW_S + 5, "has_tweets": False} | options
    return registry.removal.begin_erasure(account_id, **options)


def rows_of(registry):
    with registry.database.reading() as db:
        return repr([(t.name, db.execute(sa.select(t)).all()) for t in METADATA.sorted_tables])


# Apps


def test_a_removed_app_is_gone_with_its_tokens(registry, other, world, engine):
    own, others = world
    assert registry.removal.remove_app(own, actor=Actor(NAME, ID), now_s=NOW_S)
    engine.catch_up(other)
    for view in (registry, other):
        assert view.apps.read_app(own) is None
        assert view.apps.read_callbacks(own) == []
        assert view.apps.find_by_consumer_key(KEY) is None
        assert [each.app_id for each in view.grants.list_tokens()] == [others, others]
        assert view.grants.find_request_token(f"pending{own}", oldest_s=0) is None
        assert view.grants.find_request_token(f"pending{others}", oldest_s=0)
        assert [each.app_id for each in view.grants.list_grants(ID)] == [others]
    assert not registry.removal.remove_app(own, actor=COMMAND_LINE, now_s=NOW_S)


def test_a_removal_changes_the_credential_version(registry, world):
    before = registry.database.version()
    registry.removal.remove_app(world[0], actor=COMMAND_LINE, now_s=NOW_S)
    assert registry.database.version() != before


def test_the_audit_log_records_a_removal(registry, world):
    own, others = world
    registry.removal.remove_app(own, actor=Actor(NAME, ID), now_s=NOW_S + 9)
    newest, *older = registry.audit.list_entries(limit=99)
    shown = (newest.actor, newest.action, newest.app_id, newest.subject, newest.at_s)
    assert shown == (NAME, "remove", own, APP_NAME, NOW_S + 9)
    assert not newest.has_app
    assert {each.app_id for each in older if each.has_app} == {others}


def test_the_usage_of_a_removed_app_is_still_listed(registry, world):
    """Otherwise its owner could remove it before the bill is made."""
    own, others = world
    registry.removal.remove_app(own, actor=COMMAND_LINE, now_s=NOW_S)
    (removed, present) = registry.usage.read_month(NOVEMBER)
    assert (removed.app_id, removed.name, removed.owner) == (own, APP_NAME, NAME)
    assert (removed.used.requests, removed.used.handles, removed.exists) == (3, 2, False)
    assert removed.handles_contracted is None
    assert (present.app_id, present.exists) == (others, True)
    assert [each.app_id for each in registry.usage.read_month("2026-10")] == []


@pytest.mark.parametrize("end", ["remove", "erase"])
def test_app_ids_are_never_used_again(registry, world, end):
    newest = add_app(registry, ID, "newest", "k9")
    if end == "remove":
        registry.removal.remove_app(newest, actor=COMMAND_LINE, now_s=NOW_S)
    else:
        erase(registry)
    assert add_app(registry, OTHER_ID, "next", "k10") == newest + 1


def test_removed_apps_do_not_count_towards_the_limit(registry, ana):
    for number in range(3):
        form = AppForm("app", ana.id, [])
        app_id = registry.apps.add_app(
            form, credentials=(f"k{number}", b""), now_s=NOW_S, apps_max=1
        )
        registry.removal.remove_app(app_id, actor=COMMAND_LINE, now_s=NOW_S)


def test_what_comes_too_late_for_a_removed_app_is_refused(registry, world):
    own, _ = world
    app = registry.apps.read_app(own)
    token = AccessToken("x", own, OTHER_ID, b"s")
    registry.removal.remove_app(own, actor=COMMAND_LINE, now_s=NOW_S)
    for late in (
        lambda: registry.grants.add_access_token(token, now_s=NOW_S),
        lambda: registry.grants.replace_access_token(token, now_s=NOW_S),
        lambda: registry.apps.apply_form(own, AppForm("x", ID, ["https://x.example"])),
        lambda: registry.app_list.read_state(own),
        lambda: ask(registry, own, "late"),
    ):
        with pytest.raises(AppRemoved):
            late()
    assert not registry.apps.set_bearer(app, generation=0, bearer_hash=b"h")
    assert not registry.decisions.change_app(
        own, {"enabled": True}, actor=COMMAND_LINE, now_s=NOW_S
    )
    assert registry.apps.read_callbacks(own) == []


# Accounts


def test_nothing_of_an_erased_account_is_left(registry, world, stored_bytes):
    assert erase(registry) == Removed(apps=1, access_tokens=3, sessions=2)
    registry.removal.finish_erasure(ID)
    registry.database.scrub()
    stored = stored_bytes()
    for trace in (NAME, NAME.casefold(), APP_NAME, str(ID), KEY, f"s{KEY}", "token10000001"):
        assert trace.encode() not in stored, trace
    if b"SQLite format" in stored:
        wide = ID.to_bytes(8)
        assert wide not in stored
    for kept in (OTHER, "Tides", str(OTHER_ID), OTHER_KEY):
        assert kept.encode() in stored, kept


def test_other_accounts_keep_everything_else(registry, world):
    own, others = world
    erase(registry)
    assert registry.accounts.read_account(ID) is None
    assert registry.accounts.read_account(OTHER_ID) is not None
    assert [each.app_id for each in registry.grants.list_grants(OTHER_ID)] == [others]
    assert [each.id for each in registry.sessions.list_sessions(OTHER_ID, oldest_s=0)] == ["s3"]
    assert registry.password_hashes.read_password_hash(OTHER_ID) == "$argon2id$other"
    assert registry.apps.read_app(others).enabled
    assert registry.grants.find_request_token(f"decided{others}", oldest_s=0)
    assert registry.grants.find_request_token(f"decided{own}", oldest_s=0) is None
    assert registry.grants.find_request_token(f"pending{others}", oldest_s=0)
    assert registry.grants.find_request_token("mine", oldest_s=0) is None


def test_its_name_is_free_again(registry, world):
    erase(registry)
    registry.accounts.add_account(Account(5, NAME.upper(), NOW_S))
    with pytest.raises(NameTaken):
        registry.accounts.add_account(Account(6, NAME, NOW_S))


def test_the_audit_log_keeps_no_name(registry, world):
    own, others = world
    before = len(registry.audit.list_entries(limit=99))
    erase(registry, actor=Actor("platform key a0b1c2d3e4f5"))
    entries = registry.audit.list_entries(limit=99)
    assert len(entries) == before + 1
    shown = [
        (each.actor, each.actor_id, each.action, each.subject, each.app_id) for each in entries
    ]
    assert shown == [
        ("platform key a0b1c2d3e4f5", None, "erase", ERASED_ACCOUNT, None),
        ("command line", None, "role", OTHER, None),
        ("command line", None, "role", ERASED_ACCOUNT, None),
        (ERASED_ACCOUNT, None, "enable", "Tides", others),
        (OTHER, OTHER_ID, "enable", ERASED_APP, own),
    ]


def test_role_entries_under_earlier_names_are_erased_too(registry, world):
    registry.accounts.apply_accounts([(ID, "Renamed", None)], now_s=NOW_S)
    erase(registry)
    assert NAME not in {each.subject for each in registry.audit.list_entries(limit=99)}


def test_role_entries_of_an_older_version_are_found_by_name(registry, world):
    with registry.database.writing() as db:
        db.execute(sa.text("UPDATE audit_log SET account_id = NULL"))
    erase(registry)
    assert {NAME, OTHER} & {each.subject for each in registry.audit.list_entries(limit=99)} == {
        OTHER
    }


def test_an_app_removed_earlier_loses_its_names_too(registry, world):
    own, _ = world
    registry.removal.remove_app(own, actor=Actor(NAME, ID), now_s=NOW_S)
    erase(registry)
    assert APP_NAME not in rows_of(registry)
    assert NAME not in rows_of(registry)
    removed = registry.usage.read_month(NOVEMBER)[0]
    assert (removed.name, removed.owner, removed.used.requests) == (None, None, 3)


def test_handles_still_count_but_for_nobody(registry, world):
    own, others = world
    erase(registry)
    assert registry.usage.count_handles(NOVEMBER) == {own: 2, others: 2}
    assert registry.usage.list_handles(others, NOVEMBER, limit=9) == [ERASED_HANDLE, OTHER]
    with registry.database.reading() as db:
        ids = list(db.scalars(sa.text("SELECT account_id FROM usage_handles WHERE account_id < 0")))
    assert len(set(ids)) == 2, "the two rows cannot be connected"


def test_usage_that_is_flushed_late_names_no_erased_account(registry, world):
    _, others = world
    erase(registry)
    registry.usage.add_usage({(NOVEMBER, others, "ok"): 1}, {(NOVEMBER, others, ID)})
    assert registry.usage.count_handles(NOVEMBER)[others] == 2
    assert str(ID) not in rows_of(registry).replace(f"({ID}, {NOW_S + 5})", "")  # the erasure


def test_what_comes_too_late_for_an_erased_account_is_refused(registry, world):
    _, others = world
    ask(registry, others, "late")
    erase(registry)
    token = AccessToken("x", others, ID, b"s")
    with pytest.raises(AppRemoved):
        registry.grants.add_access_token(token, now_s=NOW_S)
    with pytest.raises(AppRemoved):
        registry.grants.replace_access_token(token, now_s=NOW_S)
    assert not registry.grants.authorize("late", account_id=ID, verifier=b"v")
    for password_hash in (None, "$argon2id$old"):
        new = NewSession("s9", b"s9", ID, "Firefox", NOW_S)
        with pytest.raises(PasswordChanged):
            registry.sessions.add_session(new, password_hash=password_hash)


# Repeats


def test_an_erasure_is_unfinished_until_it_is_finished(registry, other, world, engine):
    erase(registry)
    assert other.removal.list_unfinished() == [ID]
    assert erase(other) == Removed(0, 0, 0)
    assert other.removal.list_unfinished() == [ID]
    erased = [each for each in registry.audit.list_entries(limit=99) if each.action == "erase"]
    assert len(erased) == 1, "a repeat is not recorded again"
    registry.removal.finish_erasure(ID)
    assert registry.removal.list_unfinished() == []
    assert erase(registry) is None


def test_an_unknown_account_is_recorded_only_if_it_has_tweets(registry, world):
    assert erase(registry, 77) is None
    assert registry.removal.list_unfinished() == []
    assert "erase" not in {each.action for each in registry.audit.list_entries(limit=99)}
    assert erase(registry, 77, has_tweets=True) == Removed(0, 0, 0)
    assert registry.removal.list_unfinished() == [77]


def test_an_account_may_be_registered_again_after_its_erasure(registry, world):
    erase(registry)
    registry.removal.finish_erasure(ID)
    registry.accounts.add_account(Account(ID, NAME, NOW_S))
    assert registry.grants.list_grants(ID) == []
    assert registry.apps.list_owned(ID) == []
    assert erase(registry) == Removed(0, 0, 0)


# Several writers


def test_tokens_and_sessions_that_arrive_meanwhile_do_not_survive(registry, other, world):
    """Each is stored before the erasure and removed with it, or refused."""
    own, others = world
    for number in range(30):
        ask(registry, others, f"racing{number}")
    start = threading.Barrier(5)

    def insert(kind):
        start.wait()
        for number in range(10):
            view = (registry, other)[number % 2]
            try:
                if kind == "sessions":
                    start_session(view, ID, f"race{number}")
                elif kind == "authorized":
                    view.grants.authorize(f"racing{number}", account_id=ID, verifier=b"v")
                elif kind == "usage":
                    view.usage.add_usage({}, {(NOVEMBER, others + number, ID)})
                else:
                    ask(view, own, f"late{number}")
            except (AppRemoved, PasswordChanged):
                pass

    with ThreadPoolExecutor(4) as pool:
        kinds = ("sessions", "authorized", "usage", "requests")
        running = [pool.submit(insert, kind) for kind in kinds]
        start.wait()
        assert erase(registry) is not None
        for each in running:
            each.result()
    registry.removal.finish_erasure(ID)
    assert str(ID) not in rows_of(registry)


def test_two_erasures_at_once_do_not_fail(registry, other, world):
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(erase, view, number)
            for view in (registry, other)
            for number in (ID, OTHER_ID)
        ]
        removed = [job.result() for job in jobs]
    assert sum(each.apps for each in removed) == 2
    assert registry.removal.list_unfinished() == [ID, OTHER_ID]
    with registry.database.reading() as db:
        assert db.scalar(sa.text("SELECT count(*) FROM accounts")) == 0
