"""Hooks for every test: where nothing may be skipped (TESTS_MUST_NOT_SKIP=1), a skip fails."""

import os

import hypothesis
import pytest

MUST_NOT_SKIP = os.environ.get("TESTS_MUST_NOT_SKIP") == "1"

# What CI says of a commit must not depend on luck; everybody's own runs look for new examples.
hypothesis.settings.register_profile("same", derandomize=True)
if MUST_NOT_SKIP:
    hypothesis.settings.load_profile("same")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure; an expected failure, which pytest reports alike, stays one."""
    if not MUST_NOT_SKIP or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"nothing may be skipped here, but: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report():
    report = yield
    _refuse_skip(report)
    return report
