"""Send batches of events to the counting process, which counts for all workers of a server.

If a worker counted in its own threads, they would compete with its answers for the interpreter. So
it opens a connection for each batch, to a Unix socket that only its own user can reach. It sends
two frames, a head and the body, and receives one frame with the outcome or the error.
"""

import socket
import time
from typing import Any, Final, Self

import msgspec

from openengagement.errors import ApiError, InternalError, Unavailable
from openengagement.ingest.batch import Outcome
from openengagement.ingest.framing import read_frame, write_frame
from openengagement.ingest.rows import EVENTS
from openengagement.ingest.sources.counting_listener import connect
from openengagement.ingest.sources.uploads import Upload, UploadHandler
from openengagement.telemetry import log_failure

_RESTORE_S: Final = 3.0  # a socket that is gone is bound again within this time


# The fields of an `Upload` after its kind and body.
_Head = tuple[str, str, bytes | None, bool, str]


class _Error(msgspec.Struct, frozen=True, tag=True):
    """An `ApiError`, to be raised again in the worker."""

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
    """The outcome of a batch that was counted."""

    outcome: Outcome


_NOT_COUNTED: Final = "nothing of this batch was counted; send it again"
_UNKNOWN: Final = (
    "it is unknown whether this batch was counted; send it again, with the same "
    "Idempotency-Key if it had one"
)
_HEAD_DECODER: Final[msgspec.json.Decoder[_Head]] = msgspec.json.Decoder(_Head)
_ANSWER_DECODER: Final[msgspec.json.Decoder[_Counted | _Error]] = msgspec.json.Decoder(
    _Counted | _Error
)


def send_upload(upload: Upload, address: str, *, timeout_s: float) -> Outcome:
    """Send a batch of events to the counting process that listens at `address`.

    Raises:
        ApiError: the counting process refused the batch.
        Unavailable: the counting process cannot be reached, or ended or hung before it answered.
    """
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connect(connection, address, patience_s=min(timeout_s, _RESTORE_S))
        except OSError:
            raise Unavailable(_NOT_COUNTED) from None
        try:
            answer = _exchange(connection, upload, deadline=deadline)
        except (OSError, EOFError):
            raise Unavailable(_UNKNOWN) from None
    if isinstance(answer, _Error):
        raise ApiError.from_parts(**msgspec.structs.asdict(answer))
    return answer.outcome


def _exchange(connection: socket.socket, upload: Upload, *, deadline: float) -> _Counted | _Error:
    head: _Head = (
        upload.encoding,
        upload.content_type,
        upload.key,
        upload.atomic,
        upload.mapping,
    )
    write_frame(connection.sendall, msgspec.json.encode(head))
    write_frame(connection.sendall, upload.body)
    connection.settimeout(max(0.001, deadline - time.monotonic()))
    return _ANSWER_DECODER.decode(_receive(connection))


def serve_upload(connection: socket.socket, handle: UploadHandler) -> None:
    """Serve one batch in the counting process, then close the connection."""
    with connection:
        try:
            head = _HEAD_DECODER.decode(_receive(connection))
            answer = _answer(Upload(EVENTS, _receive(connection), *head), handle)
            write_frame(connection.sendall, msgspec.json.encode(answer))
        except (OSError, EOFError):
            return  # the worker ended, so nobody waits for the answer
        except (msgspec.DecodeError, MemoryError, OverflowError) as error:
            log_failure("counting_request_failed", error)


def _answer(upload: Upload, handle: UploadHandler) -> _Counted | _Error:
    try:
        return _Counted(handle(upload))
    except ApiError as error:
        return _Error.of(error)
    except BaseException as error:  # a panic of the data frame library is not an Exception
        log_failure("batch_failed", error)
        return _Error.of(InternalError())


def _receive(connection: socket.socket) -> bytes:
    return read_frame(lambda size: connection.recv(size, socket.MSG_WAITALL))
