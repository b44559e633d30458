"""Notifications: each occasion once, with its cause; deliveries under a lease, for many servers."""

import json
import threading
from functools import partial

import pytest
import sqlalchemy as sa

from openengagement.engagement.permissions import Role
from openengagement.registry.accounts import Account
from openengagement.registry.apps import AppForm
from openengagement.registry.audit import COMMAND_LINE, Actor
from openengagement.registry.decisions import NotManager
from openengagement.registry.deliveries import LEASE_S, MAIL, DeliveryState
from openengagement.registry.encrypted import reencrypt_secrets, sample_secrets
from openengagement.registry.notifications import Fault
from openengagement.registry.schema import DELIVERIES, NOTIFICATIONS
from openengagement.registry.webhooks import Webhook

NOW_S = 1_795_342_500
NOVEMBER = "2026-11"
DAY = "2026-11-22"
TODAY = NOW_S // 86_400  # the same day


def add_app(registry, name="one", owner_id=1):
    form = AppForm(name, owner_id, [])
    return registry.apps.add_app(form, credentials=(f"key {name}", b"s"), now_s=NOW_S)


def add_webhook(registry, name="wh_1", types=None):
    webhook = Webhook(name, f"https://{name}.example/", b"secret", NOW_S, types)
    registry.webhooks.add_webhook(webhook)
    return webhook


def contract(registry, app_id, handles):
    values = {"handles_contracted": handles}
    registry.decisions.change_app(app_id, values, actor=COMMAND_LINE, now_s=NOW_S)


def use(registry, app_id, handles):
    """Let the app use this many handles in November."""
    known = {each.id for each in registry.accounts.list_accounts()}
    for number in range(1, handles + 1):
        if number not in known:
            registry.accounts.add_account(Account(number, f"author{number}", NOW_S))
    used = {(NOVEMBER, app_id, number) for number in range(1, handles + 1)}
    registry.usage.add_usage({(NOVEMBER, app_id, "ok"): 1}, used)


def stored(registry):
    """The type and the data of every notification, in the order of their types."""
    query = sa.select(NOTIFICATIONS).order_by(NOTIFICATIONS.c.type, NOTIFICATIONS.c.occasion)
    with registry.database.reading() as db:
        return [(row.type, json.loads(row.data)) for row in db.execute(query)]


def queue(registry, *, by_mail=False, now_s=NOW_S):
    registry.deliveries.queue(by_mail=by_mail, now_s=now_s)


def claim(registry, *, now_s=NOW_S, limit=100):
    return registry.deliveries.claim(limit=limit, now_s=now_s)


def targets(registry, **search):
    found = registry.deliveries.list_deliveries(limit=100, **search)
    return sorted((each.type, each.target) for each in found)


# Occasions


def test_a_new_app_waits(registry, ana):
    app_id = add_app(registry, "Tide Charts")
    expected = {"app_id": str(app_id), "name": "Tide Charts", "owner": "ana"}
    assert stored(registry) == [("app.waiting", expected)]


def test_an_app_that_is_not_added_is_not_notified(registry, ana):
    add_app(registry)
    with pytest.raises(sa.exc.IntegrityError):
        add_app(registry)  # with the same key
    assert len(stored(registry)) == 1


def test_a_reached_limit_is_notified_once_a_day(registry, ana):
    app_id = add_app(registry)
    for day in (TODAY, TODAY, TODAY + 1):
        refusals = {(app_id, day, "rate_limited"): 3, (app_id, day + 5, "nonce_used"): 1}
        registry.usage.notify_of_limits(refusals, now_s=NOW_S)
    days = [data["day"] for kind, data in stored(registry) if kind == "limit.reached"]
    assert days == [DAY, "2026-11-23"]


def test_a_removed_app_is_not_notified(registry, ana):
    app_id = add_app(registry)
    registry.removal.remove_app(app_id, actor=COMMAND_LINE, now_s=NOW_S)
    registry.usage.notify_of_limits({(app_id, TODAY, "rate_limited"): 3}, now_s=NOW_S)
    assert stored(registry) == []


@pytest.mark.parametrize(
    ("used", "kinds"),
    [
        (7, []),
        (8, ["contract.near"]),
        (9, ["contract.near"]),
        (10, ["contract.reached"]),
        (12, ["contract.reached"]),
    ],
)
def test_contracts(registry, ana, used, kinds):
    app_id = add_app(registry)
    contract(registry, app_id, 10)
    use(registry, app_id, used)
    for _ in range(2):
        registry.notifications.note_contracts(NOVEMBER, now_s=NOW_S)
    found = [(kind, data) for kind, data in stored(registry) if kind != "app.waiting"]
    app = {"app_id": str(app_id), "name": "one", "owner": "ana"}
    expected = {**app, "month": NOVEMBER, "handles": used, "handles_contracted": 10}
    assert found == [(kind, expected) for kind in kinds]


def test_a_contract_is_near_and_then_reached_and_changes(registry, ana):
    app_id = add_app(registry)
    contract(registry, app_id, 5)
    kinds = []
    for used, contracted in ((4, 5), (5, 5), (6, 5), (6, 7), (6, 5), (7, 7)):
        contract(registry, app_id, contracted)
        use(registry, app_id, used)
        registry.notifications.note_contracts(NOVEMBER, now_s=NOW_S)
        kinds.append(len(stored(registry)) - 1)
    assert kinds == [1, 2, 2, 3, 3, 4]


def test_other_months_and_apps_without_contract_do_not_count(registry, ana):
    one, two = add_app(registry), add_app(registry, "two")
    contract(registry, two, 1)
    use(registry, one, 3)
    registry.notifications.note_contracts(NOVEMBER, now_s=NOW_S)
    use(registry, two, 1)
    registry.notifications.note_contracts("2026-10", now_s=NOW_S)
    assert {kind for kind, _ in stored(registry)} == {"app.waiting"}


def test_damage_is_notified_once_a_day(registry):
    fault = Fault("counters.segments/1.segment", "wrong checksum")
    for day in (DAY, DAY, "2026-11-23"):
        registry.notifications.note_damage([fault], day=day, now_s=NOW_S)
    data = {"file": fault.file, "reason": "wrong checksum"}
    assert stored(registry) == [("damage.found", data)] * 2


# Erasure


def test_notifications_of_a_removed_app_are_gone(registry, ana):
    add_webhook(registry)
    app_id = add_app(registry)
    kept = add_app(registry, "two")
    queue(registry)
    assert len(targets(registry)) == 2
    registry.removal.remove_app(app_id, actor=COMMAND_LINE, now_s=NOW_S)
    assert [data["app_id"] for _, data in stored(registry)] == [str(kept)]
    assert len(targets(registry)) == 1


def test_nothing_of_an_erased_owner_is_left(registry, ana, stored_bytes):
    registry.accounts.add_account(Account(2, "Persephone.Quill", NOW_S))
    add_webhook(registry)
    add_app(registry, "Quillcharts", owner_id=2)
    queue(registry)
    registry.removal.begin_erasure(2, actor=COMMAND_LINE, now_s=NOW_S, has_tweets=False)
    registry.removal.finish_erasure(2)
    registry.database.scrub()
    assert b"Persephone" not in stored_bytes()
    assert b"Quillcharts" not in stored_bytes()


# Webhooks


def test_webhooks_are_stored(registry, other):
    one, two = add_webhook(registry), add_webhook(registry, "wh_2", "app.waiting damage.found")
    assert other.webhooks.list_webhooks() == [one, two]
    assert other.webhooks.find_webhook("wh_2") == two
    assert other.webhooks.find_webhook("wh_3") is None
    assert two.wants("damage.found")
    assert not two.wants("contract.near")
    assert one.wants("contract.near")
    assert registry.count()["webhooks"] == 2


def test_a_secret_is_replaced_unless_it_changed_meanwhile(registry):
    one = add_webhook(registry)
    assert registry.webhooks.replace_secret(one, b"new", old_until_s=NOW_S + 9, now_s=NOW_S)
    assert not registry.webhooks.replace_secret(one, b"newer", old_until_s=NOW_S + 9, now_s=NOW_S)
    found = registry.webhooks.find_webhook("wh_1")
    assert (found.secret, found.old_secret) == (b"new", b"secret")
    assert found.old_secret_until_s == NOW_S + 9


def test_only_managers_change_webhooks_and_each_change_is_recorded(registry):
    for number, role in ((7, Role.MANAGER), (8, Role.MEMBER)):
        registry.accounts.add_account(Account(number, f"person{number}", NOW_S, role=role))
    webhook, webhooks = Webhook("wh_1", "https://a.example/?key=x", b"s", NOW_S), registry.webhooks

    def change(actor):
        yield partial(webhooks.add_webhook, webhook, actor=actor)
        rotate = partial(webhooks.replace_secret, webhook, b"new", old_until_s=NOW_S, now_s=NOW_S)
        yield partial(rotate, actor=actor)
        yield partial(webhooks.remove_webhook, webhook, now_s=NOW_S, actor=actor)

    member, manager = Actor("person8", 8), Actor("person7", 7)
    for refused, allowed in zip(change(member), change(manager), strict=True):
        with pytest.raises(NotManager):
            refused()
        allowed()
    entries = registry.audit.list_entries(limit=9)[::-1]
    assert [(each.action, each.actor, each.subject, each.before) for each in entries] == [
        (f"{name}_webhook", "person7", "a.example", "wh_1") for name in ("add", "rotate", "remove")
    ]


def test_secrets_of_webhooks_are_reencrypted(registry):
    one = add_webhook(registry)
    registry.webhooks.replace_secret(one, b"new", old_until_s=NOW_S, now_s=NOW_S)
    assert sorted(sample_secrets(registry.database)) == [b"new", b"secret"]
    assert reencrypt_secrets(registry.database, lambda secret: b"again " + secret) == (2, 0)
    found = registry.webhooks.find_webhook("wh_1")
    assert (found.secret, found.old_secret) == (b"again new", b"again secret")


def test_a_removed_webhook_takes_its_deliveries_along(registry, ana):
    removed = add_webhook(registry)
    add_webhook(registry, "wh_2")
    add_app(registry)
    queue(registry)
    assert registry.webhooks.remove_webhook(removed, now_s=NOW_S)
    assert not registry.webhooks.remove_webhook(removed, now_s=NOW_S)
    assert targets(registry) == [("app.waiting", "wh_2")]


# Deliveries


def test_notifications_are_queued_for_those_who_want_them(registry, ana):
    add_webhook(registry)
    add_webhook(registry, "wh_2", "damage.found")
    add_app(registry)
    registry.notifications.note_damage([Fault("x", "y")], day=DAY, now_s=NOW_S)
    for _ in range(2):
        queue(registry, by_mail=True)
    assert targets(registry) == [
        ("app.waiting", MAIL),
        ("app.waiting", "wh_1"),
        ("damage.found", MAIL),
        ("damage.found", "wh_1"),
        ("damage.found", "wh_2"),
    ]


def test_a_later_webhook_gets_no_earlier_notifications(registry, ana):
    add_app(registry)
    queue(registry)
    add_webhook(registry)
    queue(registry)
    assert targets(registry) == []


def test_a_claim_is_a_lease(registry, other, ana):
    """If the server that made it dies, another one claims the delivery after it."""
    add_webhook(registry)
    add_app(registry)
    queue(registry)
    (first,) = claim(registry)
    assert (first.attempts, first.next_at_s, first.state) == (1, NOW_S + LEASE_S, "waiting")
    assert claim(other, now_s=NOW_S + LEASE_S - 1) == []
    (second,) = claim(other, now_s=NOW_S + LEASE_S)
    assert (second.attempts, second.notification_id) == (2, first.notification_id)
    # The first server was only slow. Its failure changes nothing now, and its success does.
    finish = registry.deliveries.finish
    finish(first, DeliveryState.FAILED, result="timeout", next_at_s=NOW_S)
    assert registry.deliveries.list_deliveries(limit=9)[0].state == "waiting"
    finish(first, DeliveryState.DELIVERED, result="200", next_at_s=NOW_S)
    assert registry.deliveries.list_deliveries(limit=9)[0].state == "delivered"
    finish(second, DeliveryState.WAITING, result="timeout", next_at_s=NOW_S)
    (done,) = registry.deliveries.list_deliveries(limit=9)
    assert (done.state, done.result) == ("delivered", "200")
    assert claim(registry, now_s=NOW_S + 10 * LEASE_S) == []


def test_a_retry_waits_for_its_time(registry, ana):
    add_webhook(registry)
    add_app(registry)
    queue(registry)
    (taken,) = claim(registry)
    registry.deliveries.finish(taken, DeliveryState.WAITING, result="503", next_at_s=NOW_S + 30)
    assert claim(registry, now_s=NOW_S + 29) == []
    (again,) = claim(registry, now_s=NOW_S + 30)
    assert (again.attempts, again.result) == (2, "503")


def test_servers_share_the_deliveries(engine, registry, other, ana):
    """Every delivery is claimed by one of them."""
    for number in range(4):
        add_webhook(registry, f"wh_{number}")
    for number in range(8):
        add_app(registry, f"app {number}")
    start, claimed = threading.Barrier(2), []

    def work(view):
        start.wait()
        queue(view)
        while some := claim(view, limit=3):
            claimed.extend((each.notification_id, each.target) for each in some)

    threads = [threading.Thread(target=work, args=(view,)) for view in (registry, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue(registry)
    claimed += [(each.notification_id, each.target) for each in claim(registry)]
    assert len(claimed) == len(set(claimed)) == 32


def test_failed_deliveries_are_counted_and_begin_again(registry, ana):
    add_webhook(registry)
    add_webhook(registry, "wh_2")
    add_app(registry)
    queue(registry)
    for taken in claim(registry):
        registry.deliveries.finish(taken, DeliveryState.FAILED, result="410", next_at_s=NOW_S)
    assert registry.deliveries.count() == {"deliveries_waiting": 0, "deliveries_failed": 2}
    assert targets(registry, state=DeliveryState.FAILED, target="wh_2") == [("app.waiting", "wh_2")]
    assert registry.deliveries.retry_failed("wh_2", now_s=NOW_S) == 1
    assert registry.deliveries.retry_failed("wh_2", now_s=NOW_S) == 0
    counts = registry.count()
    assert (counts["deliveries_waiting"], counts["deliveries_failed"]) == (1, 1)
    (again,) = claim(registry)
    assert (again.target, again.attempts) == ("wh_2", 1)


def test_old_notifications_are_forgotten_with_their_deliveries(registry, ana):
    add_webhook(registry)
    add_app(registry)
    queue(registry)
    registry.deliveries.forget(before_s=NOW_S)
    assert len(stored(registry)) == 1
    registry.deliveries.forget(before_s=NOW_S + 1)
    assert stored(registry) == []
    with registry.database.reading() as db:
        assert db.execute(sa.select(DELIVERIES)).all() == []
