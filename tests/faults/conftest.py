"""What the fault tests share."""

import sys
from pathlib import Path

import pytest

# Pytest's importlib mode leaves the path alone; this makes `import faults` work for any runner.
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.crashing import Crashing


@pytest.fixture
def crashing(tmp_path):
    """A server that can be killed and started again on its folder; not started yet."""
    made = Crashing(tmp_path / "data")
    yield made
    made.end()
