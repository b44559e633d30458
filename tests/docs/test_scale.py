"""docs/scale.md shows what its script prints, and its text has no figure of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "scale.py"
PAGE = (ROOT / "docs" / "scale.md").read_text()
_BLOCK = re.compile(r"<!-- scale\.py: \w+ -->\n.*?<!-- scale\.py: end -->", re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?")
# Numbers of the text that are no results: what is assumed, what was measured, names, settings.
STATED = {"0", "1", "2", "4", "5", "10", "11", "16", "18.16", "20", "30", "32", "58", "64", "90"}
STATED |= {"150", "250", "400", "500", "1,826"}


@pytest.mark.heavy
def test_the_page_has_the_output_of_the_script():
    done = subprocess.run(
        [sys.executable, SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert _BLOCK.findall(PAGE) == _BLOCK.findall(done.stdout), "run benchmarks/scale.py --write"


def test_results_stand_in_blocks_only():
    """A result that somebody typed into the text would go stale."""
    text = re.sub(r"\]\([^)]*\)", "]", _BLOCK.sub("", PAGE))
    assert set(_NUMBER.findall(text)) - STATED == set()
