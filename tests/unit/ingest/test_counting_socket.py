"""Batches, outcomes and errors cross the socket to the counting process unchanged."""

import socket
import threading
import time

import pytest

from openengagement import errors
from openengagement.errors import ApiError, BatchRefused, InternalError, Unavailable
from openengagement.ingest.batch import Outcome, Rejection
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources import counting_socket
from openengagement.ingest.sources.counting_socket import serve_upload
from openengagement.ingest.sources.uploads import Upload

OUTCOME = Outcome(3, 1, [Rejection(2, "malformed", "is not valid JSON")], {"malformed": 1})


@pytest.fixture
def counting(tmp_path):
    """Serve batches with a function; returns the address of its socket."""
    listeners = []

    def listen(handle, *, times=1):
        listener = socket.socket(socket.AF_UNIX)
        listeners.append(listener)
        address = str(tmp_path / "counting")
        listener.bind(address)
        listener.listen()

        def serve():
            for _ in range(times):
                serve_upload(listener.accept()[0], handle)

        threading.Thread(target=serve, daemon=True).start()
        return address

    yield listen
    for each in listeners:
        each.close()


def send_upload(sent, address, *, timeout_s=60):
    return counting_socket.send_upload(sent, address, timeout_s=timeout_s)


def upload(body=b"{}", **changes):
    whole = {"encoding": "gzip", "content_type": "text/csv", "key": b"\x00\xff", "atomic": True}
    return Upload(EVENTS, body, **whole | changes)


@pytest.mark.parametrize("size", [0, 1, 10**7])
def test_a_batch_arrives_whole(counting, size):
    sent = upload(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    seen = []
    address = counting(lambda given: seen.append(given) or OUTCOME)

    assert send_upload(sent, address) == OUTCOME
    assert seen == [sent]


def test_a_batch_without_a_key(counting):
    sent = upload(key=None, atomic=False, encoding="", content_type="")
    seen = []
    send_upload(sent, counting(lambda given: seen.append(given) or OUTCOME))

    assert seen == [sent]


REFUSALS = [
    errors.MalformedBody("body: is not a JSON array"),
    errors.InvalidField("count: too much", "at: é"),
    errors.BodyTooLarge("body: holds more than 5 lines"),
    errors.UnsupportedBody("Content-Type: send one of these"),
    errors.KeyReused(),
    errors.TweetsUnavailable(("3", "4")),
    Unavailable("later", retry_after_s=7),
    BatchRefused(2, details={"accepted": 0, "rejections": [{"line": 1}], "reasons": {}}),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.code)
def test_an_error_is_raised_again_unchanged(counting, refusal):
    def handle(_upload):
        raise refusal

    with pytest.raises(type(refusal)) as caught:
        send_upload(upload(), counting(handle))

    raised = caught.value
    assert (raised.status, raised.code, raised.texts) == (
        refusal.status,
        refusal.code,
        refusal.texts,
    )
    assert (raised.arrays, raised.headers) == (refusal.arrays, refusal.headers)
    assert raised.details == refusal.details


def test_every_error_has_a_code_of_its_own():
    """Otherwise another error would be raised in its place."""

    def below(kind):
        return [kind, *(each for one in kind.__subclasses__() for each in below(one))]

    named = [each for each in below(ApiError) if not each.__subclasses__()]
    for kind in named:
        made = ApiError.from_parts(kind.code, ("x",), arrays={}, headers={}, details={})
        assert type(made) is kind


def test_an_internal_failure_is_logged_without_its_message(counting, capfd):
    def handle(_upload):
        raise RuntimeError("secret")

    with pytest.raises(InternalError) as caught:
        send_upload(upload(), counting(handle))

    assert "secret" not in str(caught.value)
    log = capfd.readouterr().err
    assert "batch_failed" in log
    assert "secret" not in log


def test_no_process_listens(tmp_path):
    with pytest.raises(Unavailable, match="nothing of this batch was counted"):
        send_upload(upload(), str(tmp_path / "nothing"), timeout_s=0.1)


@pytest.mark.parametrize("size", [1, 10**7])
def test_a_batch_that_nobody_takes_is_refused_in_time(tmp_path, size):
    """The large one does not even fit into the buffers of the socket."""
    address = str(tmp_path / "counting")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="Idempotency-Key"):
            send_upload(upload(b"x" * size), address, timeout_s=0.3)
        assert time.monotonic() - began < 30


def test_the_counting_process_ends_before_it_answers(tmp_path):
    address = str(tmp_path / "counting")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()

        def hang_up():
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(Unavailable, match="Idempotency-Key"):
            send_upload(upload(b"x" * 10**7), address)


def test_a_worker_that_disconnects_affects_no_other(counting):
    address = counting(lambda _upload: OUTCOME, times=3)
    for sent in (b"", b"\0" * 7):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(sent)

    assert send_upload(upload(), address) == OUTCOME
