"""Threads get a low priority, and never a higher one than they had."""

import os
import sys
import threading

import pytest

from openengagement.tuning import lower_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux")


@pytest.mark.parametrize(("before", "after"), [(None, 10), (19, 19)])
def test_a_priority_is_only_lowered(before, after):
    found = []

    def run():
        thread = threading.get_native_id()
        if before is not None:
            os.setpriority(os.PRIO_PROCESS, thread, before)
        began = os.getpriority(os.PRIO_PROCESS, thread)
        lower_priority()
        found.append((began, os.getpriority(os.PRIO_PROCESS, thread)))

    lowered = threading.Thread(target=run)
    lowered.start()
    lowered.join()
    assert found == [(found[0][0], max(after, found[0][0]))]
