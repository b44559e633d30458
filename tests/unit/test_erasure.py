"""Each step of an erasure may fail: a repeat completes it, and nothing of the account is left."""

from contextlib import closing

import pytest

from contract.deltas import make_batch, make_tweets
from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.erasure import Eraser
from openengagement.errors import StoreUnavailable, Unavailable
from openengagement.registry.accounts import Account
from openengagement.registry.audit import COMMAND_LINE
from openengagement.settings import Settings
from openengagement.stores.contract import Stores
from support.traces import find_traces, forms_of_id, forms_of_text

ID, NAME = 2126287304677921922, "Persephone.Quill"
OTHER_ID = 2226287304677921921
TWEETS = [2026287304677921922 + 4096 * index for index in range(5)]
OTHERS = [1926287304677921921 + 4096 * index for index in range(5)]


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def folder(data):
    with closing(open_data_folder(data, Settings(), clock=SystemClock())) as opened:
        for number, name in ((ID, NAME), (OTHER_ID, "Basil")):
            opened.registry.accounts.add_account(Account(number, name, 0))
        rows = [(each, ID, 0, "13_7001Quill", False) for each in TWEETS]
        rows += [(each, OTHER_ID, 0, None, False) for each in OTHERS]
        opened.stores.tweets.apply_tweets(make_tweets(*rows))
        counts = [(each, 10, {"replies": 2}) for each in TWEETS + OTHERS]
        opened.stores.counters.apply_batches([make_batch(counts)])
        yield opened


@pytest.fixture
def eraser(folder):
    return folder.eraser(now_s=lambda: 1_795_342_500)


def names(data):
    return find_traces(data, forms_of_text(NAME) | forms_of_text("13_7001Quill"))


def ids(data):
    forms = forms_of_id(ID)
    for each in TWEETS:
        forms |= forms_of_id(each)
    return find_traces(data, forms)


def erase(eraser, account_id=ID):
    erased = eraser.begin(account_id, actor=COMMAND_LINE)
    if erased:
        eraser.complete([account_id])
    return erased


def check_erased(folder, data):
    assert names(data) == ids(data) == []
    assert folder.registry.removal.list_unfinished() == []
    assert not folder.stores.counters.read_totals(TWEETS, ["replies"]).any()
    assert (folder.stores.counters.read_totals(OTHERS, ["replies"]) == 2).all()
    assert set(folder.stores.tweets.read_tweets(TWEETS + OTHERS)) == set(OTHERS)
    assert folder.registry.accounts.read_account(OTHER_ID)


def test_an_erasure(folder, eraser, data):
    assert names(data)
    assert ids(data)
    erased = erase(eraser)
    assert (erased.tweets, erased.apps) == (5, 0)
    check_erased(folder, data)
    assert erase(eraser) is None


STEPS = {
    "erase": lambda folder: (folder.stores.counters, "erase"),
    "forget": lambda folder: (folder.stores.tweets, "forget"),
    "scrub the stores": lambda folder: (folder.stores.tweets, "scrub"),
    "scrub the registry": lambda folder: (folder.registry.database, "scrub"),
    "finish": lambda folder: (folder.registry.removal, "finish_erasure"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails(folder, eraser, data, monkeypatch, step, after):
    owner, name = STEPS[step](folder)
    real = getattr(owner, name)

    def fail(*arguments):
        if after:
            real(*arguments)
        raise StoreUnavailable("counters", "the power failed")

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(StoreUnavailable):
            erase(eraser)
    # Its Tweets cannot be served any more, whatever failed.
    assert folder.registry.accounts.read_account(ID) is None
    finished = step == "finish" and after
    assert folder.registry.removal.list_unfinished() == ([] if finished else [ID])
    if step == "finish":
        assert names(data) == [], "everything but the id of the account is gone before the end"
    if not finished:
        assert erase(eraser) is not None
        check_erased(folder, data)


def test_an_erasure_is_completed_after_a_restart(folder, eraser, data):
    eraser.begin(ID, actor=COMMAND_LINE)
    folder.close()
    with closing(open_data_folder(data, Settings(), clock=SystemClock())) as opened:
        assert erase(opened.eraser(now_s=lambda: 1)) is not None
        check_erased(opened, data)


def test_erasures_that_wait_are_completed_together(folder, eraser, monkeypatch):
    calls = []
    monkeypatch.setattr(folder.stores.counters, "erase", lambda ids: calls.append(sorted(ids)))
    for number in (ID, OTHER_ID):
        eraser.begin(number, actor=COMMAND_LINE)
    eraser.complete([ID])
    eraser.complete([OTHER_ID])
    (together,) = calls
    assert set(together) > set(TWEETS + OTHERS)  # and the video
    assert folder.registry.removal.list_unfinished() == []


def test_an_erasure_of_another_store_is_left_to_it(folder, eraser):
    """Servers that share a registry may have stores of their own."""
    folder.registry.removal.begin_erasure(77, actor=COMMAND_LINE, now_s=1, has_tweets=True)
    erase(eraser)
    assert folder.registry.removal.list_unfinished() == [77]
    eraser.complete([77])
    assert folder.registry.removal.list_unfinished() == []


class Simple:
    """A store without capabilities."""

    name = "simple"


def test_a_store_that_cannot_erase_refuses_before_anything_is_removed(folder):
    stores = Stores(Simple(), Simple())
    eraser = Eraser(folder.registry, stores, now_s=lambda: 1)
    with pytest.raises(Unavailable, match="the simple store cannot erase"):
        erase(eraser)
    assert folder.registry.accounts.read_account(ID) is not None
