"""The allocator and the garbage collector are configured before large modules are imported."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["openengagement.__main__", "openengagement.processes.counting_process"]
)
def test_the_allocator_is_configured_before_libraries_start_threads(module):
    code = (
        "import sys; from openengagement import tuning\n"
        "tuning.configure_allocator = lambda: print('polars' in sys.modules)\n"
        f"import {module}\n"
        "print('polars' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_imported_modules_are_exempt_from_garbage_collection():
    code = (
        "import gc, openengagement.__main__; print(gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True"]
