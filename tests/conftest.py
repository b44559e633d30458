"""Hooks for every test: parallel runs, and skips that fail in CI (TESTS_MUST_NOT_SKIP=1)."""

import os
from pathlib import PurePosixPath

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

MUST_NOT_SKIP = os.environ.get("TESTS_MUST_NOT_SKIP") == "1"

# The tests of these folders share servers, so that one pytest worker runs a whole folder.
# In every other folder the unit of work is a file.
SHARED_SERVERS = ("attacks", "wire", "oidc", "interop", "oracle", "browser", "registry")
# Long folders first: the short files at the end then keep all pytest workers busy.
LONG_FOLDERS = (*SHARED_SERVERS, "faults", "cli", "contract")

# The result of CI must depend on the commit only. Other runs search for new examples.
hypothesis.settings.register_profile("same", derandomize=True)
if MUST_NOT_SKIP:
    hypothesis.settings.load_profile("same")


class FolderScheduling(LoadScopeScheduling):
    """Give each pytest worker whole folders or whole files, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = PurePosixPath(file).parent
        return str(folder) if folder.name in SHARED_SERVERS else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FolderScheduling:
    config.option.loadscopereorder = False
    return FolderScheduling(config, log)


def _position(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return LONG_FOLDERS.index(folder) if folder in LONG_FOLDERS else len(LONG_FOLDERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_position)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure. An expected failure also has the outcome "skipped": keep it."""
    if not MUST_NOT_SKIP or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"TESTS_MUST_NOT_SKIP is set, but this was skipped: {reason}"


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
