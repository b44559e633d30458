import os
import stat
import subprocess
import sys
import threading

import pytest

from openengagement.files import FileLock, copy_private, hold_lock, make_folder, write_private
from support.waiting import PATIENCE_S


def test_a_second_holder_is_refused_in_the_same_and_in_another_process(tmp_path):
    path = tmp_path / "x.lock"
    other = (
        "import sys, pathlib; from openengagement.files import hold_lock\n"
        "with hold_lock(pathlib.Path(sys.argv[1]), wait=False) as held: print(held)"
    )
    with hold_lock(path) as held, hold_lock(path, wait=False) as second:
        run = subprocess.run(
            [sys.executable, "-c", other, path], check=True, capture_output=True, text=True
        )
    assert (held, second, run.stdout) == (True, False, "False\n")
    with hold_lock(path, wait=False) as held:
        assert held


def test_threads_that_share_a_lock_exclude_each_other(tmp_path):
    lock = FileLock(tmp_path / "x.lock")
    entered = threading.Event()

    def wait_for_it():
        with lock.held():
            entered.set()

    with lock.held(), lock.held(wait=False) as second:
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        assert not second
        assert not entered.wait(0.05)
    waiting.join(PATIENCE_S)
    assert entered.is_set()
    lock.close()


@pytest.mark.parametrize("replace", [True, False])
def test_a_written_file_is_private_whole_and_alone(tmp_path, replace):
    path = tmp_path / "key"
    assert write_private(path, b"secret", replace=replace) == path
    assert path.read_bytes() == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208


def test_an_existing_file_is_replaced_unless_the_caller_forbids_it(tmp_path):
    path = write_private(tmp_path / "key", b"first")
    path.chmod(0o644)
    write_private(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    write_private(path, b"third")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"third", 0o600)


def test_a_failed_write_leaves_neither_file_nor_change(tmp_path):
    path = write_private(tmp_path / "key", b"first")
    with pytest.raises(TypeError):
        write_private(path, "no bytes")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208


@pytest.mark.parametrize("replace", [True, False])
def test_a_new_name_is_durable(tmp_path, monkeypatch, replace):
    """After a power cut, the registry would be encrypted under a key that the folder lacks."""
    steps, fsync = [], os.fsync

    def note(descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append(("folder", sorted(os.listdir(tmp_path))) if is_folder else "file")  # noqa: PTH208
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_private(tmp_path / "key", b"secret", replace=replace)
    assert steps == ["file", ("folder", ["key"])]


def test_a_new_folder_is_durable(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("openengagement.files.sync_folder", synced.append)
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_copy_is_private_and_has_the_same_content(tmp_path):
    content = b"x" * 70_000 + bytes(10 * 2**16) + b"y" + bytes(2**17)
    (tmp_path / "a").write_bytes(content)
    copy_private(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "b").stat().st_blocks < (tmp_path / "a").stat().st_blocks
    with pytest.raises(FileExistsError):
        copy_private(tmp_path / "a", tmp_path / "b")
