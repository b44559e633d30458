"""Length-prefixed frames, which processes send to each other through pipes and sockets."""

from collections.abc import Callable
from typing import Any, Final

_SIZE_BYTES: Final = 8


def write_frame(write: Callable[[Any], object], content: bytes | memoryview) -> None:
    """Write the size of `content` (8 bytes, big-endian), then `content`.

    `write` must send all that it gets.
    """
    write(len(content).to_bytes(_SIZE_BYTES))
    if content:  # an empty frame is complete, and its reader may have closed by now
        write(content)


def read_frame(read: Callable[[int], bytes]) -> bytes:
    """Read one frame with `read(size)`, which returns at most `size` bytes.

    Raises:
        EOFError: the other side closed the connection before the frame was complete.
    """
    return _read_exactly(read, int.from_bytes(_read_exactly(read, _SIZE_BYTES)))


def _read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = read(size - len(content))
        if not more:
            raise EOFError
        content = content + more if content else more
    return content
