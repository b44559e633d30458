"""The counting process runs from the first batch until its server ends."""

import contextlib
import dataclasses
import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openengagement.clock import SystemClock
from openengagement.errors import Unavailable
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources import counting_listener, counting_socket
from openengagement.ingest.sources.uploads import Upload
from openengagement.processes import counting_supervisor as supervisor
from openengagement.processes.counting_supervisor import counting_supervisor
from openengagement.settings import COUNTING_VARIABLE, DATA_VARIABLE, Settings
from openengagement.stores.embedded.store import EmbeddedStore
from support.waiting import PATIENCE_S, wait_for

EVENT = b'{"tweet_id":"123","type":"favorites","at":"2026-01-01T00:00:00Z"}\n'


@pytest.fixture
def address(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        yield os.environ[COUNTING_VARIABLE]


def upload(body=EVENT):
    return Upload(EVENTS, body, "", "application/x-ndjson", None, atomic=False)


def send_upload(sent, address):
    return counting_socket.send_upload(sent, address, timeout_s=PATIENCE_S)


def read_favorites(folder):
    store = EmbeddedStore(folder / "counters.sqlite3", clock=SystemClock(), idempotency_keep_days=1)
    with contextlib.closing(store):
        return int(store.read_totals([123], ["favorites"])[0, 0])


def children():
    """The counting processes that this process has started."""
    found = []
    for tasks in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += [int(child) for child in tasks.read_text().split() if counts(child)]
    return found


def counts(child):
    """Whether this child is a counting process that has not ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        return b"openengagement.processes.counting_process" in command
    return False


def count_within(address, seconds=PATIENCE_S, sent=None):
    """Count a batch; repeat while the supervisor still closes connections of a failed process."""
    until = time.monotonic() + seconds
    while True:
        try:
            return send_upload(sent or upload(), address)
        except Unavailable:
            assert time.monotonic() < until


def logged(capfd, event):
    """Return the first log line of that event."""
    lines = map(json.loads, capfd.readouterr().err.splitlines())
    return next(line for line in lines if line["event"] == event)


def test_it_starts_with_the_first_batch_and_ends_with_its_server(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        address = Path(os.environ[COUNTING_VARIABLE])
        assert address.parent == tmp_path
        assert stat.S_ISSOCK(address.stat().st_mode)
        assert children() == []
        for _ in range(3):
            assert send_upload(upload(), str(address)).accepted == 1
        assert len(children()) == 1
    assert children() == []
    assert not address.exists()
    assert list(tmp_path.glob("counting*")) == []


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


def set_patience(monkeypatch):
    """Kill a process that does not end by itself only after a time that a busy machine keeps."""
    monkeypatch.setattr(supervisor, "_STOP_TIMEOUT_S", PATIENCE_S)
    return PATIENCE_S


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
    failure = logged(capfd, "counting_process_failed")
    assert failure["error"] == "StoreDamaged"
    assert failure["file"] == "counters.sqlite3"


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
    failure = logged(capfd, "counting_process_failed")
    assert (failure["error"], failure["store"]) == ("StoreUnavailable", "embedded")
    assert failure["reason"] == "database is locked"


def test_a_deep_data_folder(tmp_path, monkeypatch):
    """The address of a socket holds 107 bytes."""
    deep = tmp_path / ("x" * 100) / ("é" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setenv(DATA_VARIABLE, str(deep))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    with counting_supervisor():
        address = os.environ[COUNTING_VARIABLE]
        assert send_upload(upload(), address).accepted == 1
        assert Path(address).parent == deep
        Path(address).unlink()
        assert send_upload(upload(), address).accepted == 1
    assert not Path(address).exists()


@pytest.fixture
def no_sockets(tmp_path, monkeypatch):
    """A data folder on a file system without Unix sockets, and a runtime folder."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    data = tmp_path / "data"
    data.mkdir()
    bind = socket.socket.bind

    def refuse(self, address):
        # A long path is given as one below /proc/self/fd.
        if Path(address).parent.resolve() == data:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        bind(self, address)

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv(DATA_VARIABLE, str(data))
    monkeypatch.setenv(COUNTING_VARIABLE, "")
    return runtime


def test_a_file_system_without_sockets(no_sockets, capfd):
    with counting_supervisor():
        address = Path(os.environ[COUNTING_VARIABLE])
        assert address.parent.parent == no_sockets
        assert stat.S_IMODE(address.parent.stat().st_mode) == 0o700
        assert send_upload(upload(), str(address)).accepted == 1
        shutil.rmtree(address.parent)
        assert send_upload(upload(), str(address)).accepted == 1
    assert list(no_sockets.iterdir()) == []
    assert "no_socket_in_data_folder" in capfd.readouterr().err


def test_a_private_folder_of_another_user_is_refused(no_sockets):
    folder = no_sockets / f"openengagement-{os.geteuid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.raises(PermissionError), counting_supervisor():
        pass
    folder.rmdir()
    folder.symlink_to(no_sockets)
    with pytest.raises(OSError, match=r"exists|ermission"), counting_supervisor():
        pass


def test_a_socket_that_is_gone_is_bound_again_before_the_first_batch(address, capfd):
    Path(address).unlink()
    assert send_upload(upload(), address).accepted == 1
    assert "counting_socket_restored" in capfd.readouterr().err


def replace_socket(address, how):
    """Put something else in the place of a socket, in one step: its process looks all the time."""
    other = address.with_name("other")
    if how == "removed":
        address.unlink()
    elif how == "a file":
        other.touch()
        other.replace(address)
    else:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(other))
        other.replace(address)


@pytest.mark.parametrize("how", ["removed", "a dead socket", "a file"])
def test_a_socket_that_is_gone_is_bound_again_while_the_process_runs(address, how, capfd):
    assert send_upload(upload(), address).accepted == 1
    before = children()
    for _ in range(2):
        replace_socket(Path(address), how)
        assert send_upload(upload(), address).accepted == 1
    assert children() == before
    assert capfd.readouterr().err.count("counting_socket_restored") == 2
    os.kill(before[0], 9)  # now only the supervisor can bind it again
    assert count_within(address).accepted == 1


def test_a_socket_that_cannot_be_bound_again_is_reported_once(address, tmp_path, capfd):
    assert send_upload(upload(), address).accepted == 1
    Path(address).unlink()
    Path(address).mkdir()
    (Path(address) / "occupied").touch()
    told = []

    def times_told():
        told.append(capfd.readouterr().err)
        return "".join(told).count("counting_socket_lost")

    wait_for(times_told)
    time.sleep(1.2)  # the process looks again, twice
    assert times_told() == 1
    (Path(address) / "occupied").unlink()
    Path(address).rmdir()
    assert send_upload(upload(), address).accepted == 1
    assert counting_listener.is_listening(address)


def test_no_connection_waits(tmp_path):
    listener = counting_listener.CountingListener.bind_for(tmp_path)
    assert [listener.accept(timeout_s=timeout_s) for timeout_s in (0, 0.01)] == [None, None]
    listener.close()
    assert list(tmp_path.iterdir()) == []


def test_sockets_of_dead_servers_are_removed_and_those_of_others_stay(tmp_path, address):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "counting-0123.socket"))
    (tmp_path / "counting-0123.hung").touch()
    (tmp_path / "counting-4567.hung").touch()
    with counting_supervisor():
        second = os.environ[COUNTING_VARIABLE]
        assert sorted(map(str, tmp_path.glob("counting-*"))) == sorted([address, second])
        for each in (address, second, address):
            assert send_upload(upload(), each).accepted == 1
    assert children() != []


@pytest.fixture
def hang_max_s():
    return 3600


@pytest.fixture
def watched(monkeypatch, hang_max_s):
    """A supervisor that soon notices that a process was stopped; request it before `address`."""
    monkeypatch.setattr(supervisor, "_SILENCE_MAX_S", 1)
    monkeypatch.setattr(supervisor, "_PING_EVERY_S", 0.1)
    loaded = dataclasses.replace(Settings(), counting_hang_max_s=hang_max_s)
    monkeypatch.setattr(supervisor, "load_settings", lambda _environ: loaded)


def test_a_stopped_process_is_reported_and_counts_once_it_goes_on(
    watched, address, tmp_path, capfd
):
    sent = dataclasses.replace(upload(), key=b"key")
    assert send_upload(upload(), address).accepted == 1
    (child,) = children()
    wait_for(lambda: not counting_listener.is_hung(address))
    capfd.readouterr()  # on a slow machine, the start may have been reported
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(Unavailable, match="unknown") as caught:
        counting_socket.send_upload(sent, address, timeout_s=0.2)
    assert caught.value.headers == {"retry-after": "1"}
    wait_for(lambda: counting_listener.is_hung(address))
    assert capfd.readouterr().err.count("counting_process_hung") == 1
    os.kill(child, signal.SIGCONT)
    wait_for(lambda: not counting_listener.is_hung(address))
    assert children() == [child]
    wait_for(lambda: read_favorites(tmp_path) == 2, pause_s=0.1)
    assert send_upload(sent, address).duplicate
    assert read_favorites(tmp_path) == 2


@pytest.mark.parametrize("hang_max_s", [2])
def test_a_process_that_stays_stopped_is_replaced(watched, address, tmp_path, capfd):
    sent = dataclasses.replace(upload(), key=b"key")
    assert count_within(address).accepted == 1
    (child,) = children()
    capfd.readouterr()  # on a slow machine, a process that only starts may have been killed
    os.kill(child, signal.SIGSTOP)
    # If the stopped process had accepted the connection, it breaks; else the next one serves it.
    with contextlib.suppress(Unavailable):
        assert not send_upload(sent, address).duplicate
    wait_for(lambda: child not in children())
    assert capfd.readouterr().err.count("counting_process_killed") == 1
    # A process that ended so soon may count as a failed start, whose connections are closed.
    assert count_within(address, sent=sent).accepted == 1
    wait_for(lambda: not counting_listener.is_hung(address))
    assert read_favorites(tmp_path) == 2


DIES = """
import threading
from openengagement.processes import counting_process

threading.excepthook = counting_process._end_process
threading.Thread(target=lambda: 1 / 0).start()
threading.Event().wait(10)
"""


def test_it_ends_when_a_thread_fails_even_if_it_cannot_log_that():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", DIES], stderr=full, check=False, timeout=PATIENCE_S
        )
    assert done.returncode == 1
