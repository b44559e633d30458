"""Shifts the clock of a server under test, in each of its processes.

Python imports this module at its start when the folder is on PYTHONPATH.
"""

import os
import time

_SHIFT_S = float(os.environ["SHIFTED_CLOCK_S"])
_real_time = time.time


def _shifted_time() -> float:
    return _real_time() + _SHIFT_S


time.time = _shifted_time
