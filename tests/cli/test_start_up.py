"""What is done before anything large is imported, in the processes that count."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["openengagement.__main__", "openengagement.processes.counting_process"]
)
def test_the_heap_is_shared_before_others_begin_threads(module):
    code = (
        "import sys; from openengagement import tuning\n"
        "tuning.configure_allocator = lambda: print('polars' in sys.modules)\n"
        f"import {module}\n"
        "print('polars' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_what_is_imported_is_no_garbage():
    code = (
        "import gc, openengagement.__main__; print(gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True"]
