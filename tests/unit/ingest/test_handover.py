"""What the process that counts says of a batch arrives as it was said."""

import socket
import threading

import pytest

from openengagement import errors
from openengagement.errors import ApiError, BatchRefused, InternalError, Unavailable
from openengagement.ingest.handover import hand_over, take_over
from openengagement.ingest.intake import Outcome, Rejection
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.upload import Upload

OUTCOME = Outcome(3, 1, [Rejection(2, "malformed", "is not valid JSON")], {"malformed": 1})


@pytest.fixture
def counting(tmp_path):
    """Have batches taken by a function; returns where it is reached."""
    listeners = []

    def listening(take, *, times=1):
        listener = socket.socket(socket.AF_UNIX)
        listeners.append(listener)
        address = str(tmp_path / "counting")
        listener.bind(address)
        listener.listen()

        def serve():
            for _ in range(times):
                take_over(listener.accept()[0], take)

        threading.Thread(target=serve, daemon=True).start()
        return address

    yield listening
    for each in listeners:
        each.close()


def upload(body=b"{}", **changes):
    whole = {"encoding": "gzip", "content_type": "text/csv", "key": b"\x00\xff", "atomic": True}
    return Upload(EVENTS, body, **whole | changes)


@pytest.mark.parametrize("size", [0, 1, 10**7])
def test_a_batch_arrives_whole(counting, size):
    sent = upload(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    seen = []
    address = counting(lambda given: seen.append(given) or OUTCOME)

    assert hand_over(sent, address) == OUTCOME
    assert seen == [sent]


def test_a_batch_without_a_key(counting):
    sent = upload(key=None, atomic=False, encoding="", content_type="")
    seen = []
    hand_over(sent, counting(lambda given: seen.append(given) or OUTCOME))

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
def test_a_refusal_is_raised_as_it_was(counting, refusal):
    def take(_upload):
        raise refusal

    with pytest.raises(type(refusal)) as caught:
        hand_over(upload(), counting(take))

    told = caught.value
    assert (told.status, told.code, told.texts) == (refusal.status, refusal.code, refusal.texts)
    assert (told.arrays, told.headers) == (refusal.arrays, refusal.headers)
    assert told.details == refusal.details


def test_every_refusal_has_a_name_of_its_own():
    """Or it would be told as another."""

    def below(kind):
        return [kind, *(each for one in kind.__subclasses__() for each in below(one))]

    named = [each for each in below(ApiError) if not each.__subclasses__()]
    for kind in named:
        made = ApiError.from_parts(kind.code, ("x",), arrays={}, headers={}, details={})
        assert type(made) is kind


def test_a_failure_of_our_own_is_logged_and_told_without_its_words(counting, capfd):
    def take(_upload):
        raise RuntimeError("secret")

    with pytest.raises(InternalError) as caught:
        hand_over(upload(), counting(take))

    assert "secret" not in str(caught.value)
    log = capfd.readouterr().err
    assert "batch_failed" in log
    assert "secret" not in log


def test_nobody_listens(tmp_path):
    with pytest.raises(Unavailable):
        hand_over(upload(), str(tmp_path / "nobody"))


def test_who_listens_ends_before_it_answers(tmp_path):
    address = str(tmp_path / "counting")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()

        def turn_away():
            listener.accept()[0].close()

        threading.Thread(target=turn_away, daemon=True).start()
        with pytest.raises(Unavailable, match="Idempotency-Key"):
            hand_over(upload(b"x" * 10**7), address)


def test_a_worker_that_goes_away_stops_nobody(counting):
    address = counting(lambda _upload: OUTCOME, times=3)
    for said in (b"", b"\0" * 7):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            connection.sendall(said)

    assert hand_over(upload(), address) == OUTCOME
