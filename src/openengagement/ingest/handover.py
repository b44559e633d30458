"""Batches of events are handed over to one process that counts for all workers of a server.

Beside the threads that parse, add up and merge, a worker's answers would wait for their turn at the
interpreter. A worker connects for each batch, to a Unix socket that only its own user can reach. It
sends a head and the body, each with its size before it, and gets the outcome or a refusal.
"""

import socket
from typing import Any, Final, Self

import msgspec

from openengagement.errors import ApiError, InternalError, Unavailable
from openengagement.ingest.framing import read_frame, write_frame
from openengagement.ingest.intake import Outcome
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.upload import Take, Upload
from openengagement.telemetry import log_failure

_PATIENCE_S: Final = 600.0  # for an answer; no batch takes so long


class _Head(msgspec.Struct, frozen=True):
    """What is said of a batch; see `Upload`."""

    encoding: str
    content_type: str
    key: bytes | None
    atomic: bool


class _Refusal(msgspec.Struct, frozen=True, tag=True):
    """An `ApiError`, to be raised on the other side."""

    code: str
    texts: tuple[str, ...]
    arrays: dict[str, tuple[str, ...]]
    headers: dict[str, str]
    details: dict[str, Any]

    @classmethod
    def of(cls, error: ApiError) -> Self:
        arrays = {name: tuple(ids) for name, ids in error.arrays.items()}
        return cls(error.code, error.texts, arrays, dict(error.headers), dict(error.details))


class _Counted(msgspec.Struct, frozen=True, tag=True):
    outcome: Outcome


_HEAD: Final = msgspec.json.Decoder(_Head)
_ANSWER: Final[msgspec.json.Decoder[_Counted | _Refusal]] = msgspec.json.Decoder(
    _Counted | _Refusal
)


def hand_over(upload: Upload, address: str) -> Outcome:
    """Have a batch of events counted by the process that listens at `address`.

    Raises:
        ApiError: whatever it refuses the batch with.
        Unavailable: it ended before it answered.
    """
    head = _Head(upload.encoding, upload.content_type, upload.key, upload.atomic)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(address)
            write_frame(connection.sendall, msgspec.json.encode(head))
            write_frame(connection.sendall, upload.body)
            answer = _ANSWER.decode(_receive(connection))
    except (OSError, EOFError):
        raise Unavailable(
            "nothing tells whether this batch was counted; send it again, with the same "
            "Idempotency-Key if it had one"
        ) from None
    if isinstance(answer, _Refusal):
        raise ApiError.from_parts(**msgspec.structs.asdict(answer))
    return answer.outcome


def take_over(connection: socket.socket, take: Take) -> None:
    """Answer whoever is at the other end of a connection."""
    with connection:
        try:
            head = _HEAD.decode(_receive(connection))
            body = _receive(connection)
            write_frame(connection.sendall, msgspec.json.encode(_answer(head, body, take=take)))
        except (OSError, EOFError):
            return  # the worker is gone, and with it whoever it would have told
        except (msgspec.DecodeError, MemoryError, OverflowError) as error:
            log_failure("handover_failed", error)


def _answer(head: _Head, body: bytes, *, take: Take) -> _Counted | _Refusal:
    upload = Upload(
        kind=EVENTS,
        body=body,
        encoding=head.encoding,
        content_type=head.content_type,
        key=head.key,
        atomic=head.atomic,
    )
    try:
        return _Counted(take(upload))
    except ApiError as error:
        return _Refusal.of(error)
    except BaseException as error:  # a panic of the data frame library is no Exception
        log_failure("batch_failed", error)
        return _Refusal.of(InternalError())


def _receive(connection: socket.socket) -> bytes:
    return read_frame(lambda size: connection.recv(size, socket.MSG_WAITALL))
