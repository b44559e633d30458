"""The unit of systemd is valid, and it leaves the server few rights."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.packages import ROOT

UNIT = ROOT / "deploy" / "openengagement.service"
ANALYZE = shutil.which("systemd-analyze")
# systemd rates a unit from 0, no rights, to 10. Units without hardening have 9.6.
EXPOSURE_MAX = 2.0


def read_unit():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    return unit


@pytest.fixture
def unit(tmp_path):
    """The unit, with the program of the tests in place of the installed one."""
    program = Path(sys.executable).with_name("openengagement")
    text = UNIT.read_text()
    assert text.count("/usr/local/openengagement/bin/openengagement") == 1
    file = tmp_path / UNIT.name
    file.write_text(text.replace("/usr/local/openengagement/bin/openengagement", str(program)))
    return file


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_accepts_it(unit):
    done = subprocess.run([ANALYZE, "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_it_leaves_few_rights(unit):
    command = [ANALYZE, "security", "--offline=yes", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (rated,) = re.findall(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert float(rated) <= EXPOSURE_MAX


def test_it_reloads_by_sighup_and_stops_the_main_process_first():
    service = read_unit()["Service"]
    assert service["ExecReload"] == "kill -HUP $MAINPID"
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "exec"
    assert service["StateDirectoryMode"] == "0700"
