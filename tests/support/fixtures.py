"""Fixtures for several folders. Import them in a `conftest.py`."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.server import RUNNING, Server
from support.world import World, build_world

_WORLD: pytest.StashKey[World] = pytest.StashKey()
_LOG_SHOWN = 4000


class _Logs:
    """Adds to a failure the log lines that the servers wrote during the test."""

    def __init__(self) -> None:
        self._before: dict[Server, int] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._before = {server: server.log_bytes for server in RUNNING}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed:
            for server in RUNNING:
                if said := server.log(since=self._before.get(server, 0)):
                    report.sections.append((f"log of {server.url}", said[-_LOG_SHOWN:]))
        return report


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The seeded data folder, built once for each pytest worker."""
    stash = request.config.stash
    if _WORLD not in stash:
        stash[_WORLD] = build_world(tmp_path_factory.mktemp("world"))
        request.config.pluginmanager.register(_Logs())
    return stash[_WORLD]


@pytest.fixture(scope="session")
def servers(world: World) -> Iterator[Callable[..., Server]]:
    """Returns a server with these settings, for example `servers(forbidden_text="authors")`.

    A second call with the same settings returns the same server."""
    running: dict[tuple[tuple[str, str], ...], Server] = {}

    def serve(**settings: str) -> Server:
        key = tuple(sorted(settings.items()))
        if key not in running:
            running[key] = Server(world, settings=settings).__enter__()
        return running[key]

    yield serve
    with ThreadPoolExecutor() as pool:  # each takes a while to stop
        stopped = [pool.submit(each.__exit__, None, None, None) for each in running.values()]
    for each in stopped:
        each.result()


@pytest.fixture(scope="session")
def server(servers: Callable[..., Server]) -> Server:
    """The server with default settings. Tests must not change its Tweets and apps."""
    return servers()
