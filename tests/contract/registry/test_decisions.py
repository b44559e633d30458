"""Decisions of managers, logged in the same transaction; the list of apps to decide about."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import openengagement
from openengagement.engagement.permissions import Role
from openengagement.registry import decisions
from openengagement.registry.accounts import Account
from openengagement.registry.app_list import Search
from openengagement.registry.apps import AppForm, AppRemoved
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.decisions import NotManager, Outdated
from openengagement.sandbox import demo

NOW_S, MONTH = 1_795_342_500, "2026-11"
MIRA = Actor("mira", 5)


@pytest.fixture
def add_app(registry, ana):
    keys = iter(range(100_000))

    def added(name="app", owner_id=ana.id, now_s=NOW_S):
        form = AppForm(name, owner_id, [])
        return registry.apps.add_app(form, credentials=(f"key {next(keys)}", b""), now_s=now_s)

    return added


@pytest.fixture(autouse=True)
def mira(registry):
    account = Account(MIRA.account_id, MIRA.name, NOW_S, role=Role.MANAGER)
    registry.accounts.add_account(account)
    return account


@pytest.fixture
def decide(registry):
    def decided(app_id, actor=MIRA, now_s=NOW_S, known=None, **values):
        return registry.decisions.change_app(
            app_id, values, actor=actor, now_s=now_s, known=known or {}
        )

    return decided


@pytest.fixture
def logged(registry):
    """The log, oldest first, as (actor, action, App ID, subject, before, after)."""

    def read(**only):
        entries = registry.audit.list_entries(limit=100, **only)
        return [
            (e.actor, e.action, e.app_id, e.subject, e.before, e.after) for e in reversed(entries)
        ]

    return read


def test_decisions_are_applied_and_logged(registry, add_app, decide, logged):
    app_id = add_app("Tide")
    assert decide(app_id, enabled=True, per_minute=7, handles_contracted=500)
    assert decide(app_id, suspended=True)
    assert decide(app_id, suspended=False, per_minute=None, actor=COMMAND_LINE)
    assert decide(app_id, enabled=False)

    app = registry.apps.read_app(app_id)
    now = (app.enabled, app.suspended, app.per_minute, app.handles_contracted)
    assert now == (False, False, None, 500)
    assert logged() == [
        ("mira", "enable", app_id, "Tide", "no", "yes"),
        ("mira", "limit", app_id, "Tide", None, "7"),
        ("mira", "handles", app_id, "Tide", None, "500"),
        ("mira", "suspend", app_id, "Tide", "no", "yes"),
        ("command line", "resume", app_id, "Tide", "yes", "no"),
        ("command line", "limit", app_id, "Tide", "7", None),
        ("mira", "disable", app_id, "Tide", "yes", "no"),
    ]
    newest = registry.audit.list_entries(limit=1)[0]
    assert (newest.actor_id, newest.at_s) == (5, NOW_S)


def test_a_value_that_does_not_change_is_not_logged(add_app, decide, logged):
    app_id = add_app()
    assert decide(app_id, enabled=False, suspended=False, per_minute=None)
    assert logged() == []


def test_a_decision_about_an_unknown_app_is_not_logged(decide, logged):
    assert not decide(1, enabled=True)
    assert logged() == []


def test_only_managers_decide(registry, ana, mira, add_app, decide, logged):
    """The role is read in the transaction of the decision, because a page may be older."""
    app_id, set_role = add_app("Tide"), registry.decisions.set_role
    set_role(mira.id, "member", actor=COMMAND_LINE, now_s=NOW_S)
    before = logged()
    for actor in (MIRA, Actor("ana", ana.id), Actor("nobody", 404)):
        with pytest.raises(NotManager):
            decide(app_id, actor=actor, enabled=True)
        with pytest.raises(NotManager):
            decide(1, actor=actor, enabled=True)
        with pytest.raises(NotManager):
            set_role(mira.id, "manager", actor=actor, now_s=NOW_S)
    assert not registry.apps.read_app(app_id).enabled
    assert registry.accounts.read_account(mira.id).role == "member"
    assert logged() == before


def test_a_decision_is_refused_if_the_app_has_changed(registry, add_app, decide, logged):
    app_id = add_app("Tide")
    assert decide(app_id, per_minute=7, known={"per_minute": None, "name": "Tide"})
    before = logged()
    with pytest.raises(Outdated) as refused:
        decide(app_id, enabled=True, known={"per_minute": None, "name": "Wave", "website": None})
    assert refused.value.columns == {"per_minute", "name"}
    assert not registry.apps.read_app(app_id).enabled
    assert logged() == before


def test_the_manager_of_a_sandbox_is_logged(registry, logged):
    parts = SimpleNamespace(registry=registry)
    made = {demo._demo_manager(parts, now_s=NOW_S) for _ in range(2)}
    assert [registry.accounts.read_account(each).role for each in made] == ["manager"]
    assert logged() == [("command line", "role", None, "manager", "member", "manager")]


def test_a_decision_that_cannot_be_logged_is_not_applied(registry, add_app, decide, monkeypatch):
    app_id = add_app()

    def fail(*_args, **_fields):
        raise OSError("disk full")

    monkeypatch.setattr(decisions, "write_entry", fail)
    with pytest.raises(OSError, match="disk full"):
        decide(app_id, enabled=True)
    assert not registry.apps.read_app(app_id).enabled


def test_roles(registry, ana, logged):
    set_role = registry.decisions.set_role
    set_role(ana.id, "manager", actor=COMMAND_LINE, now_s=NOW_S)
    set_role(ana.id, "manager", actor=COMMAND_LINE, now_s=NOW_S)
    assert registry.accounts.read_account(ana.id).role == "manager"
    set_role(ana.id, "member", actor=MIRA, now_s=NOW_S)
    assert registry.accounts.read_account(ana.id).role == "member"
    assert logged() == [
        ("command line", "role", None, "ana", "member", "manager"),
        ("mira", "role", None, "ana", "manager", "member"),
    ]


def test_the_log_is_listed_by_page_and_by_app(registry, add_app, decide):
    one, other = add_app(), add_app()
    for at in range(5):
        decide(one, per_minute=at + 1)
        decide(other, per_minute=at + 1)
    read = registry.audit.list_entries
    first = read(limit=4)
    rest = read(limit=100, before_id=first[-1].id)
    assert [e.id for e in [*first, *rest]] == list(range(10, 0, -1))
    assert [e.after for e in read(limit=100, app_id=one)] == ["5", "4", "3", "2", "1"]


def test_no_code_changes_or_deletes_log_entries():
    """The table is updated only when an account is erased, and nothing is deleted from it."""
    package = Path(openengagement.__file__).parent
    for module in package.rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        changes = re.findall(r"AUDIT_LOG\s*\.\s*(update|delete)\b", source)
        assert changes == (["update"] * 3 if module.name == "removal.py" else []), module


# --- lists ---------------------------------------------------------------------------------------


def names(registry, text="", state=None, **page):
    search = Search(text, state)
    return [
        a.name for a in registry.app_list.list_apps(search, month=MONTH, **({"limit": 50} | page))
    ]


def test_states_and_their_counts(registry, add_app, decide):
    for at, values in enumerate(
        [
            [],
            [{"enabled": True}],
            [{"enabled": True}, {"enabled": False}],
            [{"enabled": True, "suspended": True}],
            [{"suspended": True}, {"suspended": False}],
        ]
    ):
        app_id = add_app(f"app {at}", now_s=NOW_S + at)
        for change in values:
            decide(app_id, **change)
    assert names(registry, state="waiting") == ["app 4", "app 0"], "the newest first"
    assert names(registry, state="enabled") == ["app 1"]
    assert names(registry, state="disabled") == ["app 2"]
    assert names(registry, state="suspended") == ["app 3"]
    counted = registry.app_list.count_apps()
    assert registry.app_list.count_waiting() == counted["waiting"]
    assert counted == {"waiting": 2, "enabled": 1, "disabled": 1, "suspended": 1}
    assert registry.app_list.count_apps("app 1") == dict.fromkeys(counted, 0) | {"enabled": 1}


def test_search(registry, ana, add_app):
    registry.accounts.add_account(Account(2, "Zoë_9", NOW_S))
    first = add_app("Tide Tables")
    add_app("100% Charts", owner_id=2)
    assert names(registry, "tide") == ["Tide Tables"]
    assert names(registry, " TABLES ") == ["Tide Tables"]
    assert names(registry, str(first)) == ["Tide Tables"]
    assert names(registry, "@zoë") == names(registry, "ZOË_9") == ["100% Charts"]
    assert names(registry, "%") == ["100% Charts"]
    assert names(registry, "_") == ["100% Charts"]
    assert names(registry, "nothing") == []
    assert len(names(registry, "")) == 2


@pytest.mark.parametrize("text", ["\0", "\0\0%", " ", "\t\n", "@", " @ ", "\x1f\x7f\x9f", "@\0"])
def test_a_search_for_nothing_finds_nothing(registry, add_app, text):
    add_app("Tide")
    assert names(registry, text) == []
    assert sum(registry.app_list.count_apps(text).values()) == 0


def test_a_search_ignores_control_characters(registry, add_app):
    add_app("Tide")
    add_app("Post @ Sea")
    assert names(registry, "ti\0de") == ["Tide"]
    assert names(registry, "tide\0") == ["Tide"]
    assert names(registry, "x\0") == []
    assert names(registry, "@") == ["Post @ Sea"], "a name may have one"


def test_the_busiest_app_comes_first_with_its_figures(registry, add_app):
    quiet, busy = add_app("quiet"), add_app("busy")
    requests = {
        (MONTH, busy, "ok"): 40,
        (MONTH, busy, "rate_limited"): 2,
        (MONTH, quiet, "app_not_enabled"): 3,
        ("2026-10", quiet, "ok"): 999,
    }
    registry.usage.add_usage(requests, [])
    found = registry.app_list.list_apps(Search(), month=MONTH, limit=50)
    assert [(a.name, a.requests, a.refused) for a in found] == [("busy", 42, 2), ("quiet", 3, 3)]
    assert names(registry, limit=1) == ["busy"]
    assert names(registry, limit=1, skip=1) == ["quiet"]


def test_the_state_of_one_app(registry, add_app):
    app_id = add_app(now_s=NOW_S - 5)
    assert registry.app_list.read_state(app_id) == "waiting"
    assert registry.apps.read_app(app_id).created_at_s == NOW_S - 5
    with pytest.raises(AppRemoved):
        registry.app_list.read_state(1)
