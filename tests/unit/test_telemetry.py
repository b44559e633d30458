"""Logs: one JSON object per line on standard error, without the messages of exceptions."""

import io
import json
import os
import re
import sys
import traceback
from datetime import UTC, datetime

import pytest

from openengagement import telemetry
from openengagement.telemetry import WARNING, configure_log, log_event, log_failure

HEAD = ["time", "level", "process", "pid"]
SECRET = "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw"


def fail(error):
    """Raise the error through several functions, and return it with its traceback."""

    def inner(secret_argument):
        raise error

    def outer():
        inner(SECRET)

    try:
        outer()
    except type(error) as caught:
        return caught


def without_head(line):
    """The fields of a line without those that every line has."""
    fields = json.loads(line)
    return {name: value for name, value in fields.items() if name not in HEAD}


class TellTaleError(Exception):
    def __str__(self):
        return SECRET

    __repr__ = __str__


def with_note():
    error = ValueError("x")
    error.add_note(SECRET)
    return error


def with_cause():
    error = ValueError("x")
    error.__cause__ = RuntimeError(SECRET)
    error.__context__ = RuntimeError(SECRET)
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        ValueError("x", {"authorization": SECRET}),
        KeyError(SECRET),
        OSError(2, SECRET, SECRET),
        UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
        TellTaleError(),
        with_note(),
        with_cause(),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        SystemExit(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_message_of_an_exception_is_never_logged(error, capsys):
    log_failure("request_failed", fail(error), request_id="1f")
    out, err = capsys.readouterr()
    assert SECRET not in err
    assert out == ""
    line = json.loads(err)
    assert line["event"] == "request_failed"
    assert line["error"] == type(error).__name__
    assert line["request_id"] == "1f"


def test_a_failure_lists_its_frames_from_the_innermost(capsys):
    log_failure("request_failed", fail(ValueError("x")))
    frames = json.loads(capsys.readouterr().err)["trace"].split(" < ")
    assert [frame.split(" ")[1] for frame in frames] == ["inner", "outer", "fail"]
    assert all(frame.startswith("test_telemetry.py:") for frame in frames)


def test_a_frame_contains_neither_a_path_nor_source_code(capsys):
    error = fail(ValueError("x"))
    log_failure("request_failed", error)
    err = capsys.readouterr().err
    frame = traceback.extract_tb(error.__traceback__)[-1]
    assert "/" not in json.loads(err)["trace"]
    assert frame.line not in err


def test_an_exception_that_was_never_raised_is_logged_without_frames(capsys):
    log_failure("request_failed", ValueError(SECRET))
    assert without_head(capsys.readouterr().err) == {
        "event": "request_failed", "error": "ValueError", "trace": ""
    }  # fmt: skip


def test_an_event_is_one_line_of_json(capsys):
    log_event("started", port=8080, load_s=0.5, host=None, name='a "b"\nc\u2028d')
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert without_head(err) == {
        "event": "started", "port": 8080, "load_s": 0.5, "host": None, "name": 'a "b"\nc\u2028d'
    }  # fmt: skip


def test_events_are_written_in_order_one_per_line(capsys):
    for name in ("first", "second"):
        log_event(name)
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["first", "second"]


class Full(io.TextIOBase):
    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [Full(), closed(), None], ids=["full", "closed", "none"])
def test_a_line_that_cannot_be_written_is_ignored(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    log_event("hello")
    log_failure("failed", fail(TellTaleError()))


@pytest.fixture
def configured(monkeypatch):
    monkeypatch.setattr(telemetry.LineHead, "process", "command")
    monkeypatch.setattr(telemetry.LineHead, "text", False)
    return configure_log


def test_every_line_says_when_how_bad_and_by_which_process(capsys, configured):
    log_event("hello")
    configured("worker", text=False)
    log_event("hello", level=WARNING)
    log_failure("failed", fail(ValueError("x")))
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        assert list(line)[:5] == [*HEAD, "event"]
        assert line["pid"] == os.getpid()
        age = datetime.now(UTC) - datetime.fromisoformat(line["time"])
        assert 0 <= age.total_seconds() < 60
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert [line["process"] for line in lines] == ["command", "worker", "worker"]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]


def test_lines_for_people(capsys, configured):
    configured("worker", text=True)
    log_event("hello", count=3, name='a "b"\nc\u2028d', empty="", nothing=None, plain="x_y")
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    _, _, said = line.partition(f"Z info    worker[{os.getpid()}] ")
    assert said == 'hello count=3 name="a \\"b\\"\\nc\\u2028d" empty="" nothing=None plain=x_y\n'
