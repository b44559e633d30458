"""Several cases of one rule in one test, where `pytest.mark.parametrize` would make a test of each.

Pytest takes some milliseconds for a test, and most rules are checked in less than one. The cases
share their fixtures, so use this only if a case leaves nothing behind.
"""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

FAILURES = (Exception, pytest.fail.Exception)
MARKED = type(pytest.param())


def cases(
    names: str | Iterable[str],
    values: Iterable[Any],
    ids: Iterable[str] | Callable[[Any], object] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test with all values, and report each that fails with its id or its values.

    The arguments are those of `pytest.mark.parametrize`.
    """
    named = [n.strip() for n in names.split(",")] if isinstance(names, str) else [*names]
    given = [(each,) if len(named) == 1 else tuple(each) for each in values]
    assert not [case for case in given if isinstance(case[0], MARKED)], "a case cannot be marked"
    labels = _labels(given, ids)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def call_with_all(**fixtures: Any) -> None:
            failures = []
            for label, case in zip(labels, given, strict=True):
                try:
                    test(**fixtures, **dict(zip(named, case, strict=True)))
                except FAILURES as failure:
                    failure.add_note(f"in the case {label}")
                    failures.append(failure)
            if len(failures) == 1:
                raise failures[0]
            if failures:
                raise BaseExceptionGroup(f"{len(failures)} of {len(given)} cases fail", failures)

        call_with_all.__signature__ = _without(inspect.signature(test), named)  # type: ignore[attr-defined]
        return call_with_all

    return decorate


def _labels(given: list[tuple[Any, ...]], ids: Any) -> list[str]:
    if ids is None:
        return [f"{case if len(case) > 1 else case[0]!r}"[:300] for case in given]
    if callable(ids):
        return [" ".join(str(ids(each)) for each in case) for case in given]
    return list(ids)


def _without(signature: inspect.Signature, names: list[str]) -> inspect.Signature:
    """Return the signature with the parameters that pytest must fill."""
    left = [each for name, each in signature.parameters.items() if name not in names]
    assert len(left) == len(signature.parameters) - len(names), f"{names}, {signature}"
    return signature.replace(parameters=left)
