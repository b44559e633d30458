"""The process that counts is there when somebody asks for it, and not before or after."""

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from openengagement.errors import Unavailable
from openengagement.ingest.handover import hand_over
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.upload import Upload
from openengagement.processes.counting_supervisor import counting_beside
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
            if b"openengagement.processes.counting_process" in command:
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
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child, number)
    assert hand_over(upload(), address).accepted == 1
    assert children() == [child]


def test_who_waits_for_one_that_cannot_start_is_told(address, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(3):
        with pytest.raises(Unavailable):
            hand_over(upload(), address)
    monkeypatch.undo()


def test_a_start_that_fails_once_is_told_and_tried_again(address, monkeypatch, capfd):
    start = subprocess.Popen
    failures = [BlockingIOError("no more processes")]

    def start_or_fail(*given, **more):
        if failures:
            raise failures.pop()
        return start(*given, **more)

    monkeypatch.setattr(subprocess, "Popen", start_or_fail)
    with pytest.raises(Unavailable):
        hand_over(upload(), address)
    assert hand_over(upload(), address).accepted == 1
    assert "counting_not_started" in capfd.readouterr().err


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.02, 0.2])
def test_we_end_while_it_starts(tmp_path, monkeypatch, pause_s):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    began = time.monotonic()
    with counting_beside(), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[COUNTING_VARIABLE])
        time.sleep(pause_s)
    assert time.monotonic() - began < 4
    assert children() == []


def test_we_end_while_others_are_turned_away(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(20):
        began = time.monotonic()
        with counting_beside(), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ[COUNTING_VARIABLE])
        assert time.monotonic() - began < 4


def test_a_connection_that_says_nonsense_harms_nobody(address):
    assert hand_over(upload(), address).accepted == 1
    (child,) = children()
    for said in (b"\0" * 7 + b"\2{}" + b"\0" * 8, b"\x7f" * 8, b"\xff" * 8, b"\0" * 16):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    assert hand_over(upload(), address).accepted == 1
    assert children() == [child]


def test_a_data_folder_that_cannot_be_opened(address, tmp_path, capfd):
    (tmp_path / "counters.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable):
        hand_over(upload(), address)
    assert "DatabaseError" in capfd.readouterr().err


def test_a_deep_folder_for_temporary_files(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_beside():
        assert hand_over(upload(), os.environ[COUNTING_VARIABLE]).accepted == 1


DIES = """
import threading
from openengagement import counting

threading.excepthook = counting._end
threading.Thread(target=lambda: 1 / 0).start()
threading.Event().wait(10)
"""


def test_one_that_has_lost_a_thread_ends_even_where_it_cannot_say_so():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", DIES], stderr=full, check=False, timeout=30)
    assert done.returncode == 1
