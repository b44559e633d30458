"""Logs: one JSON object per line on standard error, without the messages of exceptions."""

import io
import json
import sys
import traceback

import pytest

from openengagement.telemetry import log_event, log_failure

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
    assert json.loads(capsys.readouterr().err) == {
        "event": "request_failed", "error": "ValueError", "trace": ""
    }  # fmt: skip


def test_an_event_is_one_line_of_json(capsys):
    log_event("started", port=8080, load_s=0.5, host=None, name='a "b"\nc\u2028d')
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert json.loads(err) == {
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
