"""Fixtures of the fault tests."""

import sys
from pathlib import Path

import pytest

# Pytest's importlib mode leaves the path alone; this makes `import faults` work for any runner.
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.crashing import Crashing


@pytest.fixture
def crashing(tmp_path):
    """A server, not started yet, that tests kill and restart on its folder."""
    made = Crashing(tmp_path / "data")
    yield made
    made.end()
