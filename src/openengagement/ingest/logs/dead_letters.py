"""Dead letters: lines of messages that cannot be counted, with the reason.

They are durable before the commit that skips them. A crash in between repeats them, so each letter
has an `id`, by which a reader recognises repeats.
"""

import base64
import codecs
import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from openengagement.errors import StoreUnavailable
from openengagement.files import sync_folder
from openengagement.ingest.logs.contract import LogMessage, LogUnusable

_TEXT_BYTES_MAX: Final = 65_536  # of a row or message; the log has the rest
_Decoder: Final = codecs.getincrementaldecoder("utf-8")  # a cut text may end within a character
# Stores letters, each an id and its bytes, durably.
PutLetters = Callable[[Sequence[tuple[str, bytes]]], None]


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line that was not counted, or a whole message if it has no `line`.

    `offset` is the message's sequence number or offset. `row` has the line, or the message; in
    base64 if it is no UTF-8, and without its end if it is `cut`.
    """

    id: str
    source: str
    offset: int
    line: int | None = None
    reason: str
    detail: str
    row: str | None = None
    row_base64: str | None = None
    cut: bool = False


def make_letter(
    message: LogMessage,
    fault: tuple[str, str],
    *,
    row: bytes | None,
    line: int | None = None,
    row_bytes_max: int = _TEXT_BYTES_MAX,
) -> DeadLetter:
    """Make the letter of a message, or of a line of it. `fault` is the reason and the detail."""
    where = f"{message.source}@{message.position.decode()}"
    row_bytes_max = min(row_bytes_max, _TEXT_BYTES_MAX)
    cut = row is not None and len(row) > row_bytes_max
    start = (row or b"")[:row_bytes_max]
    text = packed = None
    try:
        text = _Decoder().decode(start, final=not cut)
    except UnicodeDecodeError:
        packed = base64.b64encode(start).decode()
    return DeadLetter(
        id=where if line is None else f"{where}:{line}",
        source=message.source,
        offset=message.offset,
        line=line,
        reason=fault[0],
        detail=fault[1],
        row=None if row is None else text,
        row_base64=packed,
        cut=cut,
    )


def write_to(path: Path) -> PutLetters:
    """Return what appends letters to a file, one JSON object per line.

    It raises StoreUnavailable if the file cannot be written now.

    Raises:
        LogUnusable: letters can never be appended to such a path.
    """
    _verify_appendable(path)

    def put(letters: Sequence[tuple[str, bytes]]) -> None:
        lines = b"".join(letter + b"\n" for _, letter in letters)
        is_new = not path.exists()
        try:
            # Private from the beginning. The operator may give an existing file other permissions.
            with open(path, "ab", buffering=0, opener=_open_private) as file:
                _write_whole(file.fileno(), lines)
                os.fsync(file.fileno())
            if is_new:
                sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable("dead-letter", os.strerror(error.errno or 0)) from error

    return put


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _verify_appendable(path: Path) -> None:
    found = path if path.exists() else path.parent
    fits = path.is_file() if path.exists() else path.parent.is_dir()
    if not fits or not os.access(found, os.W_OK):
        reason = f"{found} is not writable" if fits else "it is no file in an existing folder"
        raise LogUnusable(f"dead letters cannot be appended to {path}: {reason}")


def _write_whole(descriptor: int, lines: bytes) -> None:
    """Append all lines or none. Other consumers, who append to the same file, wait."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # until the file is closed
    end = os.lseek(descriptor, 0, os.SEEK_END)
    written = os.write(descriptor, lines)
    if written < len(lines):
        os.ftruncate(descriptor, end)
        raise OSError(errno.ENOSPC, "the file was not written to its end")
