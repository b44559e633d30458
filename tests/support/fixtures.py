"""Fixtures that several folders share: import them in a `conftest.py`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from support.server import Server
from support.world import World, build_world

_WORLD: pytest.StashKey[World] = pytest.StashKey()


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The seeded folder, built once a session whoever asks."""
    stash = request.config.stash
    if _WORLD not in stash:
        stash[_WORLD] = build_world(tmp_path_factory.mktemp("world"))
    return stash[_WORLD]


@pytest.fixture(scope="session")
def servers(world: World) -> Iterator[Callable[..., Server]]:
    """Servers by their settings: `servers(forbidden_text="authors")`, each started once."""
    running: dict[tuple[tuple[str, str], ...], Server] = {}
    with ExitStack() as stack:

        def serve(**settings: str) -> Server:
            key = tuple(sorted(settings.items()))
            if key not in running:
                running[key] = stack.enter_context(Server(world, settings=settings))
            return running[key]

        yield serve


@pytest.fixture(scope="session")
def server(servers: Callable[..., Server]) -> Server:
    """The server with every setting at its default. Tests leave its Tweets and apps as they are."""
    return servers()
