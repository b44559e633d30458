"""Hooks for every test: parallel runs, and skips that fail in CI (TESTS_MUST_NOT_SKIP=1)."""

import gc
import os
from pathlib import Path

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

MUST_NOT_SKIP = os.environ.get("TESTS_MUST_NOT_SKIP") == "1"
STORES = os.environ.get("TEST_STORES", "embedded")  # see support/stores.py

# The tests of these folders share servers or a browser, so one pytest worker runs a whole folder.
# In all other folders the unit of work is a file.
WHOLE_FOLDERS = (
    "tests/browser",
    "tests/attacks",
    "tests/oracle",
    "tests/wire",
    "tests/interop",
    "tests/oidc",
    "tests/contract/registry",
)
# These do not use the shared servers of their folder, which alone takes longer than all others.
OWN_SERVERS = (
    "tests/attacks/test_hostile_connections.py",
    "tests/attacks/test_manage.py",
    "tests/attacks/test_secrets.py",
    "tests/attacks/test_timing.py",
)
# It uses the PostgreSQL server of that folder.
SAME_UNIT = {"tests/contract/test_limits.py": "tests/contract/registry"}
# These need a browser, kill processes again and again, wait for seconds, or run clients in other
# languages. They are not even imported for the quick tests.
HEAVY_UNITS = (
    "tests/browser",
    "tests/faults",
    "tests/interop",
    "tests/attacks/test_hostile_connections.py",
    "tests/cli/test_counting_process.py",
    "tests/cli/test_higgs.py",
    "tests/cli/test_intercept.py",
    "tests/cli/test_running_server.py",
    "tests/contract/test_processes.py",
    "tests/oidc/test_hostile.py",
    "tests/unit/ingest/test_decoder_process.py",
    "tests/wire/test_fuzzed_api.py",
)
# These compare the nodes of a cluster. `tests/wire/test_metrics.py` shows the same for one node.
NODE_UNITS = ("tests/wire/test_node_metrics.py",)
# Long units first: the short files at the end then keep all pytest workers busy.
LONG_UNITS = (
    *WHOLE_FOLDERS,
    *("tests/faults", "tests/cli", "tests/contract", "packages/client/tests", "tests/docs"),
)

# The result of CI must depend on the commit only. Other runs search for new examples. No result
# depends on the speed of the machine.
hypothesis.settings.register_profile(
    "any speed",
    derandomize=MUST_NOT_SKIP,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any speed")


class FolderScheduling(LoadScopeScheduling):
    """Give each pytest worker whole folders or files, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        folder = _folder_of(nodeid)
        is_whole = folder in WHOLE_FOLDERS and file not in OWN_SERVERS
        return folder if is_whole else SAME_UNIT.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FolderScheduling:
    config.option.loadscopereorder = False
    return FolderScheduling(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    path = collection_path.relative_to(config.rootpath).as_posix()
    left_out = HEAVY_UNITS if "not heavy" in config.option.markexpr else ()
    left_out += NODE_UNITS if STORES == "embedded" else ()
    return True if path in left_out else None


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(HEAVY_UNITS):
            item.add_marker("heavy")
    if STORES != "embedded":
        items[:] = [item for item in items if not item.get_closest_marker("embedded")]
    items.sort(key=lambda item: _rank(_folder_of(item.nodeid)))


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def _folder_of(nodeid: str) -> str:
    return nodeid.partition("::")[0].rpartition("/")[0]


def _rank(folder: str) -> int:
    return LONG_UNITS.index(folder) if folder in LONG_UNITS else len(LONG_UNITS)


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
