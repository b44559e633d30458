"""The unit of systemd is valid, and it leaves the server few rights."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.packages import ROOT
from support.cli import call_command

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


@pytest.fixture
def backup(tmp_path):
    """The unit of the backup, with the program of the tests."""
    program = Path(sys.executable).with_name("openengagement")
    text = (ROOT / "deploy" / "openengagement-backup.service").read_text()
    file = tmp_path / "openengagement-backup.service"
    file.write_text(text.replace("/usr/local/openengagement/bin/openengagement", str(program)))
    shutil.copy(ROOT / "deploy" / "openengagement-backup.timer", tmp_path)
    return file


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_accepts_the_backup_and_its_timer(backup):
    for unit in (backup, backup.with_suffix(".timer")):
        done = subprocess.run(
            [ANALYZE, "verify", unit], capture_output=True, text=True, check=False
        )
        complaints = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, complaints) == (0, [])


def test_the_backup_is_restored_and_verified_and_old_ones_are_removed(backup, tmp_path):
    """Runs what systemd would run, with its escapes resolved."""
    line = backup.read_text().partition("ExecStart=/bin/sh -euc '")[2].partition("'")[0]
    script = line.replace("\\\n", "\n").replace("$$", "$").replace("%%", "%")
    folder, data = tmp_path / "backups", tmp_path / "data"
    call_command(data, "account", "add", "alice")
    old = folder / "2026-01-01T00-00-00"
    old.mkdir(parents=True)
    os.utime(old, (time.time() - 20 * 86_400,) * 2)
    environment = os.environ | {"OPENENGAGEMENT_DATA": str(data)}
    subprocess.run(["/bin/sh", "-euc", script], cwd=folder, env=environment, check=True)
    (made,) = folder.iterdir()
    assert made != old
    assert call_command(made, "status")["accounts"] == 1
    shutil.rmtree(data)
    failed = subprocess.run(["/bin/sh", "-euc", script], cwd=folder, env=environment, check=False)
    assert failed.returncode != 0


def test_it_reloads_by_sighup_and_stops_the_main_process_first():
    service = read_unit()["Service"]
    assert service["ExecReload"] == "kill -HUP $MAINPID"
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "exec"
    assert service["StateDirectoryMode"] == "0700"
