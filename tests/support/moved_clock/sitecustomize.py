"""Move the wall clock of a Python process that has this folder in its PYTHONPATH.

The file that `MOVED_CLOCK` names holds the seconds to move it by. The monotonic clock stays, as it
does when a real clock jumps.
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["MOVED_CLOCK"])
_real_time = time.time


def _moved_time() -> float:
    return _real_time() + float(_FILE.read_text())


time.time = _moved_time
