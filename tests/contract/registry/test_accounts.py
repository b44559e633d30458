"""Accounts: unique ids and names; rows that rename accounts and exchange their names."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from openengagement.engagement.permissions import Role
from openengagement.registry.accounts import Account, NameTaken
from support.waiting import PATIENCE_S

NOW_S = 1_795_342_500


def names(registry, *ids):
    found = {at: registry.accounts.read_account(at) for at in ids}
    return {at: account.screen_name if account else None for at, account in found.items()}


def apply(registry, *rows):
    return registry.accounts.apply_accounts([(*row, False)[:3] for row in rows], now_s=NOW_S)


def test_an_account_is_found_by_name_and_id(registry, ana):
    assert registry.accounts.read_account(1) == registry.accounts.find_account("ana") == ana
    assert registry.accounts.find_account("ANA") == ana
    assert registry.accounts.find_account("bea") is None
    assert registry.accounts.read_account(2) is None


@pytest.mark.parametrize(
    "account",
    [
        Account(1, "bea", NOW_S),
        Account(2, "ana", NOW_S),
        Account(2, "ANA", NOW_S, protected=True, role=Role.MANAGER),
    ],
    ids=["id", "name", "name in other letters"],
)
def test_a_name_or_id_that_is_in_use_is_refused(registry, ana, account):
    with pytest.raises(NameTaken):
        registry.accounts.add_account(account)

    assert names(registry, 1, 2) == {1: "ana", 2: None}


@pytest.mark.parametrize(("first", "second"), [("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος")])
def test_letters_fold_beyond_ascii(registry, first, second):
    registry.accounts.add_account(Account(1, first, NOW_S))

    assert registry.accounts.find_account(second).id == 1
    assert apply(registry, (2, second)) == {0: 1}


def test_apply_changes_known_accounts_and_adds_new_ones(registry, ana):
    taken = registry.accounts.apply_accounts([(1, "ana", True), (2, "bea", False)], now_s=NOW_S)

    assert taken == {}
    assert registry.accounts.read_account(1) == Account(1, "ana", NOW_S, protected=True)
    assert registry.accounts.read_account(2) == Account(2, "bea", NOW_S)


def test_apply_keeps_the_role(registry):
    registry.accounts.add_account(Account(1, "boss", NOW_S, role=Role.MANAGER))
    apply(registry, (1, "chief"))

    assert registry.accounts.read_account(1) == Account(1, "chief", NOW_S, role=Role.MANAGER)


PROTECTED = {
    "left out": ([None], True),
    "said": ([False], False),
    "left out after it was said": ([False, None], False),
    "said after it was left out": ([None, False], False),
    "said twice": ([False, True, None], True),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["in one batch", "one after the other"])
@pytest.mark.parametrize(("said", "after"), PROTECTED.values(), ids=PROTECTED)
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_a_row_without_protection_leaves_it_as_it_is(registry, said, after, at_once, known):
    rows = [(1, f"name{at}", protected) for at, protected in enumerate(said)]
    if known:
        apply(registry, (1, "ana", True))
    else:
        rows.insert(0, (1, "ana", True))
    for batch in [rows] if at_once else [[row] for row in rows]:
        assert registry.accounts.apply_accounts(batch, now_s=NOW_S) == {}

    assert registry.accounts.read_account(1).protected is after
    assert names(registry, 1) == {1: f"name{len(said) - 1}"}


def test_a_new_account_is_public_by_default(registry):
    rows = [(1, "a", None), (2, "b", False), (3, "c", True)]
    registry.accounts.apply_accounts(rows, now_s=NOW_S)

    assert registry.accounts.read_protected([1, 2, 3]) == {1: False, 2: False, 3: True}


@pytest.mark.parametrize("atomic", [False, True])
def test_a_refused_row_changes_nothing(registry, atomic):
    apply(registry, (1, "ana", True), (2, "bea", False))
    rows = [(1, "ann", None), (1, "bea", False), (2, "ANN", True)]

    assert registry.accounts.apply_accounts(rows, now_s=NOW_S, atomic=atomic) == {1: 2, 2: 1}
    assert registry.accounts.read_protected([1, 2]) == {1: True, 2: False}
    assert names(registry, 1) == {1: "ana" if atomic else "ann"}


def test_protection_follows_the_account_and_not_its_name(registry):
    apply(registry, (1, "ana", True), (2, "bea", False), (3, "cleo", True))
    ring = [(1, "tmp"), (3, "ana"), (2, "cleo"), (1, "bea")]

    assert registry.accounts.apply_accounts([(*row, None) for row in ring], now_s=NOW_S) == {}
    assert names(registry, 1, 2, 3) == {1: "bea", 2: "cleo", 3: "ana"}
    assert registry.accounts.read_protected([1, 2, 3]) == {1: True, 2: False, 3: True}


def test_no_rows(registry):
    assert apply(registry) == {}


CASES = {
    "rename": ([(1, "ann")], {}, {1: "ann", 2: "bea"}),
    "other letters": ([(1, "ANA")], {}, {1: "ANA", 2: "bea"}),
    "taken": ([(1, "bea")], {0: 2}, {1: "ana", 2: "bea"}),
    "taken by a new one": ([(3, "Ana")], {0: 1}, {1: "ana", 2: "bea", 3: None}),
    "taken earlier": ([(3, "new"), (4, "NEW")], {1: 3}, {3: "new", 4: None}),
    "a name that was freed": ([(1, "ann"), (3, "ana")], {}, {1: "ann", 3: "ana"}),
    "freed too late": ([(3, "ana"), (1, "ann")], {0: 1}, {1: "ann", 3: None}),
    "a chain": ([(1, "ann"), (2, "ana"), (3, "bea")], {}, {1: "ann", 2: "ana", 3: "bea"}),
    "a straight swap": ([(1, "bea"), (2, "ana")], {0: 2, 1: 1}, {1: "ana", 2: "bea"}),
    "a swap by a third name": (
        [(1, "tmp"), (2, "ana"), (1, "bea")],
        {},
        {1: "bea", 2: "ana"},
    ),
    "a ring of three": (
        [(3, "cleo"), (1, "tmp"), (3, "ana"), (2, "cleo"), (1, "bea")],
        {},
        {1: "bea", 2: "cleo", 3: "ana"},
    ),
    "twice the same": ([(3, "new"), (3, "new")], {}, {3: "new"}),
    "there and back": ([(1, "ann"), (1, "ana")], {}, {1: "ana", 2: "bea"}),
    "renamed away and taken": ([(1, "ann"), (3, "ana"), (1, "ana")], {2: 3}, {1: "ann", 3: "ana"}),
    "a new one gives way": ([(3, "x"), (3, "y"), (1, "x")], {}, {1: "x", 2: "bea", 3: "y"}),
    "new ones swap": ([(3, "x"), (4, "y"), (3, "z"), (4, "x"), (3, "y")], {}, {3: "y", 4: "x"}),
    "an old and a new one swap": (
        [(3, "x"), (1, "t"), (3, "ana"), (1, "x")],
        {},
        {1: "x", 3: "ana"},
    ),
}


@pytest.mark.parametrize(("rows", "taken", "after"), CASES.values(), ids=CASES)
def test_names_move_between_accounts_in_the_order_of_rows(registry, rows, taken, after):
    apply(registry, (1, "ana"), (2, "bea"))

    assert apply(registry, *rows) == taken
    assert names(registry, *after) == after


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_gives_the_same_result_as_its_rows_one_by_one(registry, seed):
    """Whatever the rows are, together they do what they do one by one."""
    chance = random.Random(seed)
    owner_of, name_of, shut = {}, {}, {}
    for _ in range(12):
        rows = [
            (chance.randint(1, 6), chance.choice("abcdefgABC"), chance.choice((None, True, False)))
            for _ in range(8)
        ]
        expected = {}
        for at, (account_id, name, protected) in enumerate(rows):
            owner = owner_of.get(name.lower(), account_id)
            if owner != account_id:
                expected[at] = owner
                continue
            owner_of.pop(name_of.get(account_id, name).lower(), None)
            owner_of[name.lower()], name_of[account_id] = account_id, name
            shut[account_id] = bool(shut.get(account_id) if protected is None else protected)

        assert apply(registry, *rows) == expected, rows
        assert names(registry, *name_of) == name_of
        assert registry.accounts.read_protected(list(shut)) == shut


def test_more_rows_than_one_statement_has_parameters(registry):
    """More than fit into one statement's parameters."""
    count = 3000
    apply(registry, *((at, f"u{at}") for at in range(1, count + 1)))
    rows = [(at, f"n{at}") for at in range(1, count + 1)] + [(count + 1, "N5")]

    assert apply(registry, *rows) == {count: 5}
    protected = registry.accounts.read_protected(range(1, count + 10))
    assert len(protected) == count
    assert names(registry, 1, count) == {1: "n1", count: f"n{count}"}


def test_read_protected(registry):
    registry.accounts.apply_accounts([(1, "a", True), (2, "b", False)], now_s=NOW_S)

    assert registry.accounts.read_protected([3, 2, 1]) == {1: True, 2: False}
    assert registry.accounts.read_protected([]) == {}


def test_a_reader_waits_for_no_writer(registry, other, ana):
    """Lookups run on the event loop, so a long transaction elsewhere must not block them."""
    with other.database.writing(credentials=True) as db:
        db.execute(sa.text("UPDATE accounts SET screen_name = 'new'"))
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(registry.accounts.read_account, ana.id)
            assert found.result(PATIENCE_S) == ana  # it would fail after WRITE_TIMEOUT_S
