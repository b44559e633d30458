"""Commits of a move whose answers are lost."""

from contextlib import closing

import pytest

from contract.backends import Embedded
from contract.deltas import make_batch, make_deltas
from openengagement.errors import StoreUnavailable
from openengagement.moving import writer as module
from openengagement.moving.sides import CannotMove
from openengagement.moving.writer import TargetWriter
from openengagement.stores.contract import Applied, Position
from openengagement.stores.inventory import MoveState

HOUR = 490_000


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PAUSE_S", 0.0)
    with closing(Embedded(tmp_path).open()) as opened:
        yield opened


@pytest.fixture
def writer(store):
    made = TargetWriter(store, MoveState.read(store))
    made.begin(MoveState("source", "run"))
    return made


def lose_answers(store, monkeypatch, *, applied):
    """Let the next call fail, before or after it has applied its batches."""
    apply_batches = store.apply_batches

    def lose(batches):
        monkeypatch.setattr(store, "apply_batches", apply_batches)
        if applied:
            apply_batches(batches)
        raise StoreUnavailable("embedded", "the answer is lost")

    monkeypatch.setattr(store, "apply_batches", lose)


def replies(store):
    return store.read_totals([1], ["replies"]).tolist()[0][0]


@pytest.mark.parametrize("applied", [True, False])
def test_counts_are_added_once(store, writer, monkeypatch, applied):
    lose_answers(store, monkeypatch, applied=applied)
    writer.add(make_deltas([(1, HOUR, {"replies": 3})]))
    writer.add(make_deltas([(1, HOUR, {"replies": 4})]))
    assert replies(store) == 7
    assert MoveState.read(store) == writer.state == MoveState("source", "run", 2)


@pytest.mark.parametrize("applied", [True, False])
def test_keys_are_recorded_once(store, writer, monkeypatch, applied):
    lose_answers(store, monkeypatch, applied=applied)
    (answer,) = writer.apply([make_batch([], key=b"key")])
    assert answer == Applied(applied, b"outcome")


def test_a_position_of_a_source(store, writer):
    writer.apply([make_batch([], position=Position("log", b"1", None))])
    assert store.read_position("log") == b"1"


def test_another_process_is_noticed(store, writer):
    other = TargetWriter(store, MoveState.read(store))
    other.begin(MoveState("source", "other", 1))
    for change in (
        lambda: writer.add(make_deltas([(1, HOUR, {"replies": 3})])),
        lambda: writer.begin(MoveState("source", "run", 1)),
    ):
        with pytest.raises(CannotMove, match="another process"):
            change()
    assert replies(store) == 0


def test_it_gives_up_in_the_end(store, writer, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", -1.0)
    lose_answers(store, monkeypatch, applied=False)
    with pytest.raises(StoreUnavailable, match="lost"):
        writer.add(make_deltas([(1, HOUR, {"replies": 3})]))
