"""The page of benchmarks shows the figures of `results.json`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHOW = """
import sys
sys.path.insert(0, "benchmarks")
import report
print(report.shown(), end="")
"""


def test_the_page_is_that_of_the_results():
    """A row that asks for a figure by a wrong name would fail, after an hour of measuring."""
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout in (ROOT / "docs/benchmarks/README.md").read_text()
