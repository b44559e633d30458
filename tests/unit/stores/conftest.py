"""Deltas are made as the contract's tests make them."""

import sys
from pathlib import Path

# Pytest's importlib mode leaves the path alone; this makes `import contract` work for any runner.
sys.path.insert(0, str(Path(__file__).parents[2]))
