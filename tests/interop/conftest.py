"""Fixtures of the interop tests."""

import sys
from pathlib import Path

# Pytest's importlib mode leaves the path alone; this makes `import support` work for any runner.
sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]
