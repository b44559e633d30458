"""The process that counts is there when somebody asks for it, and not before or after."""

import os
import socket
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest

from openengagement.cli.beside import counting_beside
from openengagement.errors import Unavailable
from openengagement.ingest.handover import hand_over
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.upload import Upload
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE

EVENT = b'{"tweet_id":"123","type":"favorites","at":"2026-01-01T00:00:00Z"}\n'


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_beside():
        yield os.environ[COUNTING_VARIABLE]


def upload(body=EVENT):
    return Upload(EVENTS, body, "", "application/x-ndjson", None, atomic=False)


def children():
    """The processes that this one has started and that count."""
    found = []
    for tasks in Path("/proc/self/task").glob("*/children"):
        for child in tasks.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"openengagement.counting" in command:
                found.append(int(child))
    return found


def test_it_starts_with_the_first_batch_and_ends_with_us(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_beside():
        address = Path(os.environ[COUNTING_VARIABLE])
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        assert children() == []
        for _ in range(3):
            assert hand_over(upload(), str(address)).accepted == 1
        assert len(children()) == 1
    assert children() == []
    assert not address.parent.exists()


def test_another_takes_the_place_of_one_that_dies(address):
    assert hand_over(upload(), address).accepted == 1
    (first,) = children()
    os.kill(first, 9)
    until = time.monotonic() + 20
    while True:  # who was waiting for the first one is told to come again
        try:
            assert hand_over(upload(), address).accepted == 1
            break
        except Unavailable:
            assert time.monotonic() < until
    (second,) = children()
    assert second != first


def test_signals_to_all_do_not_end_it(address):
    assert hand_over(upload(), address).accepted == 1
    (child,) = children()
    for number in (2, 15):
        os.kill(child, number)
    assert hand_over(upload(), address).accepted == 1
    assert children() == [child]


def test_who_waits_for_one_that_cannot_start_is_told(address, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(3):
        with pytest.raises(Unavailable):
            hand_over(upload(), address)
    monkeypatch.undo()


def test_a_data_folder_that_cannot_be_opened(address, tmp_path, capfd):
    (tmp_path / "counters.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable):
        hand_over(upload(), address)
    assert "counting" not in {each.name for each in tmp_path.iterdir()}
    capfd.readouterr()


def test_a_deep_folder_for_temporary_files(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_beside():
        assert hand_over(upload(), os.environ[COUNTING_VARIABLE]).accepted == 1


def test_only_our_user_gets_in(address):
    assert Path(address).parent.stat().st_uid == os.getuid()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
