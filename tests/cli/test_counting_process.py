"""The counting process runs from the first batch until its server ends."""

import contextlib
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from openengagement.clock import SystemClock
from openengagement.errors import Unavailable
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.counting_socket import send_upload
from openengagement.ingest.sources.uploads import Upload
from openengagement.processes import counting_supervisor as supervisor
from openengagement.processes.counting_supervisor import counting_supervisor
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE
from openengagement.stores.embedded.store import EmbeddedStore
from support.waiting import PATIENCE_S

EVENT = b'{"tweet_id":"123","type":"favorites","at":"2026-01-01T00:00:00Z"}\n'


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        yield os.environ[COUNTING_VARIABLE]


def upload(body=EVENT):
    return Upload(EVENTS, body, "", "application/x-ndjson", None, atomic=False)


def children():
    """The counting processes that this process has started."""
    found = []
    for tasks in Path("/proc/self/task").glob("*/children"):
        for child in tasks.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"openengagement.processes.counting_process" in command:
                found.append(int(child))
    return found


def count_within(address, seconds=PATIENCE_S):
    """Count a batch; repeat while the supervisor still closes connections of a failed process."""
    until = time.monotonic() + seconds
    while True:
        try:
            return send_upload(upload(), address)
        except Unavailable:
            assert time.monotonic() < until


def test_it_starts_with_the_first_batch_and_ends_with_its_server(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        address = Path(os.environ[COUNTING_VARIABLE])
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        assert children() == []
        for _ in range(3):
            assert send_upload(upload(), str(address)).accepted == 1
        assert len(children()) == 1
    assert children() == []
    assert not address.parent.exists()


def test_it_is_restarted_after_it_was_killed(address):
    assert send_upload(upload(), address).accepted == 1
    (first,) = children()
    os.kill(first, 9)
    assert count_within(address).accepted == 1
    (second,) = children()
    assert second != first


def test_it_ignores_the_signals_that_stop_a_server(address):
    assert send_upload(upload(), address).accepted == 1
    (child,) = children()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(child, number)
    assert send_upload(upload(), address).accepted == 1
    assert children() == [child]


def test_a_batch_fails_at_once_if_the_process_cannot_start(address, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for _ in range(3):
        with pytest.raises(Unavailable):
            send_upload(upload(), address)
    monkeypatch.undo()


def test_a_failed_start_fails_one_batch_and_is_repeated_for_the_next(address, monkeypatch, capfd):
    start = subprocess.Popen
    failures = [BlockingIOError("no more processes")]

    def start_or_fail(*given, **more):
        if failures:
            raise failures.pop()
        return start(*given, **more)

    monkeypatch.setattr(subprocess, "Popen", start_or_fail)
    with pytest.raises(Unavailable):
        send_upload(upload(), address)
    assert count_within(address).accepted == 1
    assert "counting_process_not_started" in capfd.readouterr().err


def set_patience(monkeypatch, seconds=30):
    """Kill a process that does not end by itself only after a time that a busy machine keeps."""
    monkeypatch.setattr(supervisor, "_STOP_TIMEOUT_S", seconds)
    return seconds


@pytest.mark.parametrize("pause_s", [0, 0.001, 0.02, 0.2])
def test_the_server_ends_while_it_starts(tmp_path, monkeypatch, pause_s):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    patience_s = set_patience(monkeypatch)
    began = time.monotonic()
    with counting_supervisor(), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[COUNTING_VARIABLE])
        time.sleep(pause_s)
    assert time.monotonic() - began < patience_s, "it had to be killed"
    assert children() == []


def test_the_server_ends_while_waiting_connections_are_closed(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    patience_s = set_patience(monkeypatch)
    for _ in range(20):
        began = time.monotonic()
        with counting_supervisor(), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ[COUNTING_VARIABLE])
        assert time.monotonic() - began < patience_s, "it had to be killed"


def test_malformed_messages_do_not_harm_it(address):
    assert send_upload(upload(), address).accepted == 1
    (child,) = children()
    for message in (b"\0" * 7 + b"\2{}" + b"\0" * 8, b"\x7f" * 8, b"\xff" * 8, b"\0" * 16):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(message)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    assert send_upload(upload(), address).accepted == 1
    assert children() == [child]


def test_a_batch_fails_if_the_data_folder_cannot_be_opened(address, tmp_path, capfd):
    (tmp_path / "counters.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable):
        send_upload(upload(), address)
    assert "DatabaseError" in capfd.readouterr().err


def test_a_batch_fails_if_the_data_folder_is_locked(address, tmp_path, capfd):
    """SQLite waits for a lock longer than any other failed start takes."""
    path = tmp_path / "counters.sqlite3"
    EmbeddedStore(path, clock=SystemClock(), idempotency_keep_days=1).close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            send_upload(upload(), address)
        other.rollback()
    assert count_within(address).accepted == 1
    assert "the embedded store is unavailable: database is locked" in capfd.readouterr().err


def test_a_deep_folder_for_temporary_files_is_avoided(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        assert send_upload(upload(), os.environ[COUNTING_VARIABLE]).accepted == 1


DIES = """
import threading
from openengagement.processes import counting_process

threading.excepthook = counting_process._end_process
threading.Thread(target=lambda: 1 / 0).start()
threading.Event().wait(10)
"""


def test_it_ends_when_a_thread_fails_even_if_it_cannot_log_that():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", DIES], stderr=full, check=False, timeout=30)
    assert done.returncode == 1
