"""The watch for jumps of the wall clock."""

import pytest

from contract.backends import ChosenClock
from openengagement.clock import JUMP_S, JumpWatch

KEPT_S = 300


@pytest.fixture
def clock():
    return ChosenClock()


@pytest.fixture
def watch(clock):
    return JumpWatch(clock, kept_s=KEPT_S)


def test_a_clock_that_only_runs_is_steady(clock, watch):
    for _ in range(9):
        clock.at_s += 3600
        assert watch.is_steady()


@pytest.mark.parametrize("by_s", [JUMP_S + 1, -JUMP_S - 1, 86_400, -86_400])
def test_a_jump_is_remembered_for_a_while(clock, watch, by_s):
    clock.jump(by_s)
    assert not watch.is_steady()
    clock.at_s += KEPT_S
    assert not watch.is_steady()
    clock.at_s += 1
    assert watch.is_steady()


def test_a_correction_is_no_jump(clock, watch):
    for _ in range(9):
        clock.jump(JUMP_S - 1)
        assert watch.is_steady()


def test_a_jump_back_is_another_jump(clock, watch):
    clock.jump(3600)
    assert not watch.is_steady()
    clock.at_s += KEPT_S - 1
    clock.jump(-3600)
    assert not watch.is_steady()
    clock.at_s += KEPT_S
    assert not watch.is_steady()
