"""`support.cases`: one test for several cases names each of them that fails."""

import inspect

import pytest

from support.cases import cases


def check_all(*wrong):
    seen = []

    @cases("number", [1, 2, 3], ids=["one", "two", "three"])
    def check(number, seen):
        seen.append(number)
        assert number not in wrong

    assert [*inspect.signature(check).parameters] == ["seen"]
    try:
        check(seen=seen)
    finally:
        assert seen == [1, 2, 3]


def test_all_cases_are_checked_and_failures_are_named():
    check_all()
    with pytest.raises(AssertionError) as caught:
        check_all(2)
    assert caught.value.__notes__ == ["in the case two"]
    with pytest.raises(ExceptionGroup, match="2 of 3 cases fail") as group:
        check_all(1, 3)
    assert [each.__notes__ for each in group.value.exceptions] == [
        ["in the case one"],
        ["in the case three"],
    ]


def test_cases_of_cases():
    @cases("name", ["a", "b"])
    @cases("number", [1, 2])
    def check(name, number):
        assert (name, number) != ("b", 1)

    with pytest.raises(AssertionError) as caught:
        check()
    assert caught.value.__notes__ == ["in the case 1", "in the case 'b'"]


def test_a_failure_of_pytest_is_one():
    @cases("kind", [KeyError, ValueError])
    def check(kind):
        with pytest.raises(kind):
            raise KeyError

    with pytest.raises(KeyError) as caught:
        check()
    assert caught.value.__notes__ == ["in the case <class 'ValueError'>"]


def test_a_case_cannot_have_a_mark():
    with pytest.raises(AssertionError, match="marked"):
        cases("number", [pytest.param(1, marks=pytest.mark.heavy)])
