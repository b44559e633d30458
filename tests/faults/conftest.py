"""Fixtures of the fault tests."""

import pytest

from faults.crashing import Crashing


@pytest.fixture
def crashing(tmp_path):
    """A server, not started yet, that tests kill and restart on its folder."""
    made = Crashing(tmp_path / "data")
    yield made
    made.end()
