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
from support.documented import read_code
from support.waiting import wait_for

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


@pytest.mark.heavy
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

    old.mkdir()
    os.utime(old, (time.time() - 20 * 86_400,) * 2)
    (folder / "verified").mkdir()
    (folder / "verified" / "file").touch()  # the verification fails
    made_at_s = (data / "last-backup").stat().st_mtime_ns
    # Its name is the second in which it began. A fast machine may still be in that of the first.
    wait_for(lambda: time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime()) > made.name)
    failed = subprocess.run(["/bin/sh", "-euc", script], cwd=folder, env=environment, check=False)
    assert failed.returncode != 0
    assert old.exists(), "it may be the last one that can be restored"
    assert (data / "last-backup").stat().st_mtime_ns > made_at_s, "docs/metrics.md says so"
    shutil.rmtree(data)
    failed = subprocess.run(["/bin/sh", "-euc", script], cwd=folder, env=environment, check=False)
    assert failed.returncode != 0


def test_it_reloads_by_sighup_and_stops_the_main_process_first():
    service = read_unit()["Service"]
    assert service["ExecReload"] == "kill -HUP $MAINPID"
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "exec"
    assert service["StateDirectoryMode"] == "0700"


SETTINGS = r"""# a comment
; another one
OPENENGAGEMENT_PLATFORM_NAME=Open Tides & Co
OPENENGAGEMENT_OIDC_NAME="Example ID"
OPENENGAGEMENT_REGISTRY=postgresql://u:p$HOME@host/x?sslmode=verify-full&sslrootcert=/x
OPENENGAGEMENT_TRUSTED_PROXIES='10.0.0.1, 10.0.0.2'
not a setting
  OPENENGAGEMENT_LANGUAGES = de, en
OPENENGAGEMENT_SMTP_SERVER= "mail.example:25"
export OPENENGAGEMENT_METRICS=127.0.0.1:9464
OPENENGAGEMENT-NOUNS=x
 # OPENENGAGEMENT_TERMS_URL=x
OPENENGAGEMENT_LOGO=
OPENENGAGEMENT_HOSTS="""


@pytest.fixture
def admin(tmp_path):
    """The command of the operator, in a folder of the test. It prints its folder and variables."""
    script, program = tmp_path / "openengagement-admin", tmp_path / "program"
    program.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\nenv\n')
    program.chmod(0o755)
    text = (ROOT / "deploy" / script.name).read_text()
    for ours, installed in (
        (f"settings={tmp_path}/openengagement.env", "settings=/etc/openengagement.env"),
        (f"backups={tmp_path}/backups", "backups=/var/lib/openengagement-backups"),
        ("install -d -m 0700", "install -d -m 0700 -o openengagement -g openengagement"),
        ("exec", "exec setpriv --reuid=openengagement --regid=openengagement --init-groups"),
        (str(program), "/usr/local/openengagement/bin/openengagement"),
    ):
        assert text.count(installed) == 1
        text = text.replace(installed, ours)
    script.write_text(text)

    def run(*arguments):
        command = ["/bin/sh", script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


def test_the_operators_command_has_the_settings_as_systemd_reads_them(admin, tmp_path):
    spaced = SETTINGS.replace("sslrootcert=/x", "sslrootcert=/x  ").replace("LOGO=", "LOGO= \t")
    (tmp_path / "openengagement.env").write_text(spaced)
    lines = admin("account", "add", "a b").splitlines()
    assert lines[:4] == [str(tmp_path / "backups"), "account", "add", "a b"]
    assert (tmp_path / "backups").stat().st_mode & 0o777 == 0o700
    assert {line for line in lines if line.startswith("OPENENGAGEMENT_")} == {
        "OPENENGAGEMENT_DATA=/var/lib/openengagement",
        "OPENENGAGEMENT_PLATFORM_NAME=Open Tides & Co",
        "OPENENGAGEMENT_OIDC_NAME=Example ID",
        "OPENENGAGEMENT_REGISTRY=postgresql://u:p$HOME@host/x?sslmode=verify-full&sslrootcert=/x",
        "OPENENGAGEMENT_TRUSTED_PROXIES=10.0.0.1, 10.0.0.2",
        "OPENENGAGEMENT_LANGUAGES=de, en",
        "OPENENGAGEMENT_SMTP_SERVER=mail.example:25",
        "OPENENGAGEMENT_LOGO=",
        "OPENENGAGEMENT_HOSTS=",
    }


def test_the_operators_command_has_the_home_of_the_service(admin):
    """With that of root, libpq fails: it looks for certificates there."""
    lines = admin("status").splitlines()
    assert {"HOME=/var/lib/openengagement", "USER=openengagement"} <= {*lines}
    assert "LOGNAME=openengagement" in lines
    page = (ROOT / "docs" / "deploying.md").read_text()
    assert "useradd --system --home-dir /var/lib/openengagement " in page


def test_the_operators_command_has_the_defaults_of_the_unit(admin):
    lines = admin("status").splitlines()
    for setting in read_unit_defaults():
        assert setting.replace("%S", "/var/lib") in lines


def read_unit_defaults():
    return re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.MULTILINE)


SHIMS = {
    "systemctl": 'echo "$@" >>"$CALLS"',
    "install": 'for each; do folder=$each; done; exec mkdir -m 0700 "$folder"',
    "openengagement-admin": 'cd "$BACKUPS" && exec "$PROGRAM" --data "$DATA" "$@"',
}


@pytest.mark.heavy
def test_a_restore_as_the_page_has_it(tmp_path):
    """Its commands, with folders of the test, and without the service and its user."""
    page = (ROOT / "docs" / "lifecycle.md").read_text()
    _, restore = read_code(page.partition("## Upgrade and restore under systemd\n")[2], "sh")
    programs, backups = tmp_path / "bin", tmp_path / "openengagement-backups"
    data = tmp_path / "openengagement"
    programs.mkdir()
    for name, text in SHIMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    call_command(data, "account", "add", "alice")
    for day in ("2026-11-28", "2026-11-29"):
        call_command(data, "backup", str(backups / f"{day}T00-00-00"))
        call_command(data, "account", "add", f"of-{day}")
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "BACKUPS": str(backups),
        "DATA": str(data),
        "PROGRAM": str(Path(sys.executable).with_name("openengagement")),
    }
    script = restore.replace("/var/lib", str(tmp_path))
    subprocess.run(["/bin/sh", "-euc", script], env=environment, check=True, capture_output=True)
    assert call_command(data, "status")["accounts"] == 2
    assert call_command(tmp_path / "openengagement.before", "status")["accounts"] == 3
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == ["stop openengagement", "start openengagement"]


def test_the_page_copies_files_that_exist():
    page = (ROOT / "docs" / "deploying.md").read_text()
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", "\n".join(read_code(page, "sh"))))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    assert "deploy/cluster/systemd/node.conf" in named
