"""The process that decodes Parquet and Arrow fails: no failure condemns a good body."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

import support
from openengagement.errors import MalformedBody, Unavailable
from openengagement.ingest.formats import decoder_process
from openengagement.ingest.formats.columnar import ColumnarReader
from openengagement.ingest.formats.decoder_process import DecoderServer
from openengagement.ingest.formats.decoder_protocol import Request
from support.waiting import wait_for

KILLED = f"signal {signal.SIGKILL:d}"
CRASHED = f"signal {signal.SIGSEGV:d}"
ABORTED = f"signal {signal.SIGABRT:d}"


def parquet(values):
    target = io.BytesIO()
    pl.DataFrame({"id": values}).write_parquet(target)
    return target.getvalue()


REQUEST = Request(
    name="Parquet",
    fields=("id",),
    required=("id",),
    texts=(),
    not_text="",
    rows_max=10,
    text_max_bytes=10**6,
    chunk_rows=10**6,
    typed=False,
    latest_s=0,
    count_max=0,
)


IMPORTS = """
import io, os, sys
from openengagement.ingest.formats.column_decoder import decode_into, hide_pandas
hide_pandas()
before = set(sys.modules)
sink = io.BytesIO()
decode_into(os.fsencode(sys.argv[1]), sys.stdin.buffer, sink=sink)
print(sink.getvalue()[8:9], set(sys.modules) - before)
"""


def test_a_fork_imports_nothing(tmp_path):
    """Every body would pay for it: the fork's imports end with the fork."""
    path = tmp_path / "body"
    path.write_bytes(parquet([7]))
    with path.open() as body:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS, msgspec.json.encode(REQUEST)],
            stdin=body,
            capture_output=True,
            check=True,
        )

    assert done.stdout == b"b'p' set()\n", done.stdout


def read_ids(reader, body, request=REQUEST):
    return reader.read(body, request).text.get_column("id").to_list()


@pytest.fixture(scope="module")
def read_after(tmp_path_factory):
    """Read a good body with a decoder that does what a test lists, one action for each try."""
    orders = tmp_path_factory.mktemp("decoder") / "orders"
    reader = ColumnarReader()
    reader._server = DecoderServer("support.failing_decoder")

    def read(*actions, values=(7,), request=REQUEST):
        orders.write_text("\n".join(actions))
        ids = read_ids(reader, parquet(values), request)
        assert not orders.read_text()
        return ids

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILING_DECODER", str(orders))
        patch.setenv("PYTHONPATH", str(Path(support.__file__).parents[1]))
        yield read


def logged(capsys):
    """Return the failures. Messages of decoders arrive at any time."""
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    failed = [line for line in lines if line["event"] != "decoder_message"]
    return [(line["event"], line["exit_code"], line["error"], line["attempt"]) for line in failed]


@pytest.mark.parametrize(
    ("action", "exit_code", "error"),
    [
        (KILLED, -9, None),
        (CRASHED, -11, None),
        (ABORTED, -6, None),
        ("exit 3", 3, None),
        ("raise", 1, None),
        ("half", 0, None),
        ("end-server", None, None),
        ("spin", -signal.SIGXCPU, None),
    ],
)
def test_one_failure_is_logged_and_a_fresh_process_decodes(
    read_after, capsys, action, exit_code, error
):
    assert read_after(action) == ["7"]
    assert logged(capsys) == [("decoder_failed", exit_code, error, 1)]
    assert read_after() == ["7"]
    assert logged(capsys) == []


@pytest.mark.parametrize(
    "actions",
    [
        (KILLED, KILLED),
        (CRASHED, KILLED),
        ("end-server", "end-server"),
        (KILLED, CRASHED),
        (KILLED, "raise"),
        (KILLED, "end-server"),
        (f"signal {signal.SIGUSR1:d}", f"signal {signal.SIGXCPU:d}"),
    ],
)
def test_a_decoder_that_is_killed_refuses_no_body_as_damaged(read_after, actions):
    with pytest.raises(Unavailable, match="send this batch again") as caught:
        read_after(*actions)

    assert caught.value.status == 503
    assert read_after() == ["7"]


def test_a_second_try_repeats_no_row_of_the_first(read_after, capsys):
    """A file of ten rows has four pieces. The first process dies after each part of its answer."""
    request = msgspec.structs.replace(REQUEST, chunk_rows=3)
    kept = []
    for size in range(0, 10_000, 150):
        ids = read_after(f"cut {size}", values=range(10), request=request)
        assert ids == [str(value) for value in range(10)]
        if "decoder_failed" not in capsys.readouterr().err:
            break  # the answer was complete before the process died
        kept.append(size)
    assert len(kept) > 10


@pytest.mark.parametrize("action", [CRASHED, ABORTED, "raise", "exit 3", "spin"])
def test_a_body_over_which_two_fresh_processes_crash_is_refused(read_after, action):
    """The limit of memory ends a process with SIGABRT, that of CPU time with SIGXCPU."""
    with pytest.raises(MalformedBody, match="damaged or far too large"):
        read_after(action, action)

    assert read_after() == ["7"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_a_group_of_processes_end_no_decoder(read_after, capsys, number):
    """An interrupt of the terminal, or a stop of the service, goes to the decoder too."""
    assert read_after(f"signal {number:d}") == ["7"]
    assert not capsys.readouterr().err


def test_a_server_that_was_killed_between_bodies_is_replaced(capsys):
    reader = ColumnarReader()
    for value in range(3):
        assert read_ids(reader, parquet([value])) == [str(value)]
        server = reader._server.process
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
    assert not capsys.readouterr().err


def test_the_server_ends_with_its_reader():
    reader = ColumnarReader()
    read_ids(reader, parquet([1]))
    server = reader._server.process
    assert server.poll() is None

    del reader

    assert server.poll() is not None


def test_bodies_share_no_state():
    """Every body has a process of its own: none inherits what the one before left behind."""
    reader = ColumnarReader()
    for _ in range(3):
        with pytest.raises(MalformedBody):
            read_ids(reader, parquet([1])[:-30])
        assert read_ids(reader, parquet([1])) == ["1"]


def test_a_crash_is_logged_with_its_place_and_without_values(read_after, capfd, monkeypatch):
    read_after(CRASHED)
    lines = []

    def crash_is_logged():
        lines.extend(map(json.loads, capfd.readouterr().err.splitlines()))
        return any("in decode" in line.get("text", "") for line in lines)

    wait_for(crash_is_logged)
    texts = [line["text"] for line in lines if line["event"] == "decoder_message"]
    assert texts[0].startswith("Fatal Python error: Segmentation fault")
    assert all(text.startswith("File ") for text in texts[1:])


def test_messages_that_could_quote_a_body_are_not_logged(capsys):
    many = b"x" * 1000 + b"\nKeyError: 'secret'\n" + b'  File "/a/b.py", line 7, in f\n' * 1000
    decoder_process._log_messages(io.BytesIO(many))
    lines = list(map(json.loads, capsys.readouterr().err.splitlines()))
    assert len(lines) == decoder_process._MESSAGES_MAX
    assert {line["text"] for line in lines} == {'File "/a/b.py", line 7, in f'}


@pytest.mark.parametrize("hard_s", [resource.RLIM_INFINITY, 1])
def test_the_limit_of_cpu_time_never_exceeds_that_of_the_system(monkeypatch, hard_s):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, hard_s))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    decoder_process.limit_cpu_time()
    if hard_s == resource.RLIM_INFINITY:
        [(soft_s, hard)] = given
        assert (hard, soft_s > decoder_process._CPU_MAX_S) == (hard_s, True)
    else:
        assert given == []
