"""Usage: requests add up by month, app and outcome; each handle counts once a month."""

import pytest

from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.usage import REFUSAL_DAYS

NOW_S = 1_795_342_500
OCTOBER, NOVEMBER = "2026-10", "2026-11"


@pytest.fixture
def apps(registry, ana):
    """Three apps: one with usage, one with a contract only, one with neither."""
    ids = [
        registry.apps.add_app(AppForm(name, ana.id, []), credentials=(name, b""), now_s=NOW_S)
        for name in ("one", "two", "three")
    ]
    registry.decisions.change_app(
        ids[1], {"handles_contracted": 10}, actor=COMMAND_LINE, now_s=NOW_S
    )
    return ids


def test_usage_of_several_calls_adds_up(registry, apps):
    one = apps[0]
    registry.accounts.add_account(Account(77, "bob", NOW_S))
    for _ in range(3):
        registry.usage.add_usage(
            {(NOVEMBER, one, "ok"): 2, (NOVEMBER, one, "rate_limited"): 1, (OCTOBER, one, "ok"): 5},
            {(NOVEMBER, one, 1), (NOVEMBER, one, 77), (OCTOBER, one, 1)},
        )
    used = registry.usage.read_app_usage(one, [NOVEMBER, OCTOBER, "2026-09"])
    november = used[NOVEMBER]
    assert (november.requests, november.errors, november.handles) == (9, {"rate_limited": 3}, 2)
    assert november.refused == 3
    assert (used[OCTOBER].requests, used[OCTOBER].errors, used[OCTOBER].handles) == (15, {}, 1)
    assert (used["2026-09"].requests, used["2026-09"].handles) == (0, 0)


def test_read_month_lists_all_apps_with_usage_or_a_contract(registry, apps):
    one, two, _three = apps
    registry.usage.add_usage(
        {(NOVEMBER, one, "ok"): 2, (NOVEMBER, one, "nonce_used"): 1, (NOVEMBER, 5, "ok"): 1},
        {(NOVEMBER, one, 1), (NOVEMBER, 5, 1)},
    )
    found = [
        (a.app_id, a.name, a.owner, a.handles_contracted, a.used.requests, a.used.errors)
        for a in registry.usage.read_month(NOVEMBER)
    ]
    assert found == [
        (one, "one", "ana", None, 3, {"nonce_used": 1}),
        (two, "two", "ana", 10, 0, {}),
    ], "unknown apps, and apps without usage or a contract, are left out"
    assert [a.used.handles for a in registry.usage.read_month(NOVEMBER)] == [1, 0]
    assert [a.app_id for a in registry.usage.read_month(OCTOBER)] == [two]


def test_handles_are_listed_by_screen_name(registry, apps):
    one, two, _ = apps
    for number, name in ((2, "Zoe"), (3, "bob"), (999, "eve")):
        registry.accounts.add_account(Account(number, name, NOW_S))
    registry.usage.add_usage({}, {(NOVEMBER, one, number) for number in (1, 2, 3, 999)})
    erase = registry.removal.begin_erasure
    erase(999, actor=COMMAND_LINE, now_s=NOW_S, has_tweets=False)
    registry.usage.add_usage({}, {(NOVEMBER, two, 1), (OCTOBER, one, 3)})
    names = registry.usage.list_handles
    assert names(one, NOVEMBER, limit=10) == ["(erased)", "ana", "bob", "Zoe"]
    assert names(one, NOVEMBER, limit=2) == ["(erased)", "ana"]
    assert names(one, OCTOBER, limit=10) == ["bob"]
    assert registry.usage.count_handles(NOVEMBER) == {one: 4, two: 1}
    assert registry.usage.count_handles(NOVEMBER, [two]) == {two: 1}
    assert registry.usage.count_handles("2026-09", [two]) == {}


def test_an_account_that_is_not_registered_is_no_handle(registry, apps):
    """It was erased after its Tweets were served."""
    one = apps[0]
    registry.usage.add_usage({}, {(NOVEMBER, one, 1), (NOVEMBER, one, 77)})
    assert registry.usage.list_handles(one, NOVEMBER, limit=9) == ["ana"]
    registry.usage.add_usage({}, {(NOVEMBER, one, 77)})
    assert registry.usage.count_handles(NOVEMBER) == {one: 1}


def test_refusals_are_listed_by_day_and_old_days_are_removed(registry, apps):
    one, two, _ = apps
    today = 20_000
    for day, app_id, count in ((today - REFUSAL_DAYS, one, 9), (today, two, 1), (today, one, 2)):
        refusals = {(app_id, day, "rate_limited"): count, (app_id, day, "invalid_field"): 1}
        requests = {(NOVEMBER, app_id, reason): n for (_, _, reason), n in refusals.items()}
        registry.usage.add_usage(requests, [], refusals=refusals)
    registry.usage.add_usage(
        {(NOVEMBER, one, "rate_limited"): 3}, [], refusals={(one, today - 1, "rate_limited"): 3}
    )
    found = registry.usage.list_refusals(one, oldest_day=0)
    assert [(each.day, each.reason, each.requests) for each in found] == [
        (today, "rate_limited", 2),
        (today, "invalid_field", 1),
        (today - 1, "rate_limited", 3),
    ]
    assert [each.day for each in registry.usage.list_refusals(one, oldest_day=today)] == [today] * 2


def test_answered_requests_of_a_month(registry, apps):
    one = apps[0]
    registry.usage.add_usage(
        {(NOVEMBER, one, "ok"): 4, (NOVEMBER, one, "x"): 2, (OCTOBER, one, "ok"): 5}, []
    )
    assert registry.usage.count_answered(one, NOVEMBER) == 4
    assert registry.usage.count_answered(one, "2026-01") == 0
