"""`doctor`: each bad setup is explained in words, with something to do."""

import json
import os
import resource
import time
from contextlib import closing

import pytest

from openengagement.cli import doctor
from openengagement.cli.doctor import Level
from support.folders import open_store, without_root


@pytest.fixture
def examine(run):
    """Run it; return the findings that are not ok, by their text."""

    def look(*, code=None):
        done = run("doctor", "--json")
        found = json.loads(done.out)
        assert done.err == ""
        assert found["healthy"] == (done.code == 0)
        assert done.code == code if code is not None else True
        for each in found["findings"]:
            assert each["level"] in set(Level)
            assert bool(each["remedy"]) == (each["level"] != "ok") or each["level"] == "ok"
        return {each["text"]: each for each in found["findings"] if each["level"] != "ok"}

    return look


@pytest.fixture
def good(run, owned_app, data, monkeypatch):
    """A folder with nothing to say about."""
    run("app", "enable", owned_app)
    run("account", "role", "ana", "manager")
    run("platform-key", "issue", "feed")
    run("backup", data.with_name("backup"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "_FILES_MIN", 1)
    monkeypatch.setattr(doctor, "_ROOM_BYTES", 1)
    monkeypatch.setattr(doctor, "_file_system", lambda _: "ext4")


@pytest.fixture
def owner(data, monkeypatch):
    """The command runs as the user that owns the folder."""
    monkeypatch.setattr(os, "geteuid", lambda: data.stat().st_uid or 1000)


def only(found, words):
    (text,) = [each for each in found if words in each]
    return found[text]


def test_a_missing_folder(examine):
    found = examine(code=1)
    finding = only(found, "there is no data folder")
    assert (finding["level"], "--data" in finding["remedy"]) == ("problem", True)


def test_it_creates_nothing(examine, data):
    examine()
    assert not data.exists()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OPENENGAGEMENT_NO_SUCH_THING", "1", "is not a setting"),
        ("OPENENGAGEMENT_THREADS", "0", "whole number"),
        ("OPENENGAGEMENT_REGISTRY", "mysql://x", "postgresql://"),
    ],
)
def test_an_invalid_setting(examine, monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    finding = only(examine(code=1), says)
    assert name in finding["text"]


def test_plain_http_from_everywhere(examine, monkeypatch):
    monkeypatch.setenv("OPENENGAGEMENT_ALLOW_PLAIN_HTTP", "true")
    assert only(examine(), "plain HTTP is accepted")["level"] == "warning"
    monkeypatch.setenv("OPENENGAGEMENT_TRUSTED_PROXIES", "10.0.0.0/8")
    assert not [each for each in examine() if "plain HTTP is accepted" in each]


@pytest.mark.parametrize("networks", ["0.0.0.0/0", "10.0.0.0/8, ::/0"])
def test_proxies_everywhere(examine, monkeypatch, networks):
    monkeypatch.setenv("OPENENGAGEMENT_TRUSTED_PROXIES", networks)
    assert "TRUSTED_PROXIES" in only(examine(), "trusted as a proxy")["remedy"]


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("127.0.0.1:9464", False),
        ("localhost:9464", False),
        ("[::1]:9464", False),
        ("0.0.0.0:9464", True),
        ("10.0.0.4:9464", True),
    ],
)
def test_metrics_that_others_may_read(examine, monkeypatch, address, warns):
    monkeypatch.setenv("OPENENGAGEMENT_METRICS", address)
    assert any("have no authentication" in each for each in examine()) == warns


@pytest.mark.parametrize(
    ("days", "says"), [(None, "no backup of this folder"), (1, None), (5, "is 5 days old")]
)
def test_the_last_backup(good, data, examine, days, says):
    mark = data / "last-backup"
    if days is None:
        mark.unlink()
    else:
        os.utime(mark, (time.time() - days * 86_400,) * 2)
    found = [each for each in examine() if "no backup" in each or "last backup is" in each]
    assert len(found) == (says is not None)
    assert all(says in each for each in found)


def test_requests_that_can_be_repeated(examine, monkeypatch):
    monkeypatch.setenv("OPENENGAGEMENT_REPLAY_PROTECTION", "off")
    assert "REPLAY_PROTECTION" in only(examine(), "sent again")["remedy"]


def test_a_new_folder_lacks_a_key_and_a_manager(examine, owned_app):
    found = examine()
    assert "platform-key issue" in only(found, "no platform key")["remedy"]
    assert "account role" in only(found, "no account is a manager")["remedy"]
    assert "app list --state waiting" in only(found, "wait for access")["remedy"]


def test_a_folder_without_faults(good, owner, data, examine, run):
    def give_away():
        if data.parent.stat().st_uid == 0:  # these tests run as root
            for path in (data, *data.rglob("*")):
                os.chown(path, 1000, -1)

    give_away()
    assert examine(code=0) == {}
    give_away()
    people = run("doctor")
    assert people.code == 0
    assert all(line.startswith("ok ") for line in people.out.splitlines())


def test_files_that_others_may_read(good, data, examine):
    data.chmod(0o755)
    found = examine()
    assert "chmod 0700" in only(found, "may enter or read")["remedy"]
    data.chmod(0o700)
    (data / "server.key").chmod(0o640)
    found = examine(code=1)
    assert "chmod 0600" in only(found, "may enter or read")["remedy"]
    assert only(found, "cannot be used")["level"] == "problem"


def test_another_users_folder(good, data, examine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: data.stat().st_uid + 4321)
    assert "sudo -u" in only(examine(code=1), "belongs to user")["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user(good, owner, data, examine):
    os.chown(data / "counters.sqlite3", 4321, -1)
    finding = only(examine(code=1), "does not belong to the user of the folder")
    assert str(data / "counters.sqlite3") in finding["text"]
    assert f"--reference={data}" in finding["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("folder", [".", "counters.segments"])
def test_the_folder_that_a_disk_begins_with(good, owner, data, examine, folder):
    lost = data / folder / "lost+found"
    lost.mkdir(parents=True)
    os.chown(lost, 4321, -1)
    found = [text for text in examine() if "does not belong" in text]
    assert len(found) == (folder != ".")  # the root of a disk has it, and other folders do not


@pytest.mark.parametrize("above", [True, False])
def test_a_folder_that_this_user_cannot_enter(unreachable, above):
    with without_root():
        findings = list(doctor.examine(unreachable if above else unreachable.parent))
    assert "Permission denied" in findings[-1].text
    assert (findings[-1].level, "server's user" in findings[-1].remedy) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", "problem"), ("cifs", "problem"), ("tmpfs", "warning")]
)
def test_an_unsuitable_file_system(good, examine, monkeypatch, kind, level):
    monkeypatch.setattr(doctor, "_file_system", lambda _: kind)
    assert only(examine(), f"({kind})")["level"] == level


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path} nfs4 rw 0 0\nc {tmp_path}/other xfs rw 0 0\n")
    monkeypatch.setattr(doctor, "_MOUNTS", mounts)
    assert doctor._file_system(tmp_path / "data") == "nfs4"
    assert doctor._file_system(tmp_path.parent) == "ext4"


def test_little_room(good, examine, monkeypatch):
    monkeypatch.setattr(doctor, "_ROOM_BYTES", 2**62)
    assert "twice" in only(examine(), "MiB are free")["remedy"]


def test_few_open_files(good, examine, monkeypatch):
    monkeypatch.setattr(doctor, "_FILES_MIN", 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert "ulimit" in only(examine(), "256 files")["remedy"]


@pytest.mark.parametrize("name", ["registry.sqlite3", "counters.sqlite3"])
def test_a_folder_that_is_refused(good, data, examine, name):
    for part in data.glob(f"{name}*"):
        part.unlink()
    before = sorted(data.iterdir())
    finding = only(examine(code=1), name)
    assert finding["level"] == "problem"
    assert sorted(data.iterdir()) == before


def test_nothing_is_created_in_another_folder(examine, data):
    data.mkdir()
    (data / "holiday.jpg").write_text("x")
    only(examine(code=1), "it is another folder")
    assert [each.name for each in data.iterdir()] == ["holiday.jpg"]


def test_a_file_instead_of_a_folder(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    texts = [each.text for each in doctor.examine(file)]
    assert any("is not a folder" in text for text in texts)


def test_a_running_server(running):
    from support.cli import invoke

    done = invoke("--data", str(running.data), "doctor")
    assert "1 server(s) run on this folder" in done.stdout


def test_a_database_of_postgresql_that_does_not_answer(examine, monkeypatch, data):
    data.mkdir(mode=0o700)
    monkeypatch.setenv("OPENENGAGEMENT_REGISTRY", "postgresql://nobody:Secret77@127.0.0.1:1/none")
    finding = only(examine(code=1), "cannot be used")
    assert "Secret77" not in finding["text"]


def test_a_sealed_folder(examine, good, data):
    with closing(open_store(data)) as store:
        store.inventory().seal("it is being moved")
    assert "docs/moving.md" in only(examine(code=1), "every change is refused")["remedy"]
