"""Cut the text of a file into parts that can be parsed by themselves.

The functions get the text in blocks. The memory in use does not depend on the size of the file. A
fault is found before the part in which it may begin is yielded.
"""

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from openengagement.errors import MalformedBody
from openengagement.ingest.formats.json_documents import find_elements, find_objects
from openengagement.ingest.formats.text_rows import count_line_ends, strip_mark

ROW_BYTES_MAX: Final = 64 * 2**20
_ARRAY: Final = re.compile(rb"[ \t\r\n]*\[")


class Part(NamedTuple):
    """A body, and the number of lines (in a JSON document: of elements) of the file before it.

    A byte of the body is `first_byte` further in the file. In a JSON document, `line_ends` is the
    number of line ends before the body.
    """

    body: bytes
    lines_before: int
    first_byte: int = 0
    line_ends: int = 0


def cut_lines(blocks: Iterator[bytes]) -> Iterator[Part]:
    """Cut NDJSON at line ends.

    Raises:
        MalformedBody: a line is longer than ROW_BYTES_MAX.
    """
    lines_before = read_bytes = 0
    rest = b""
    for block in blocks:
        read_bytes += len(block)
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            if len(rest) > ROW_BYTES_MAX:
                raise _line_too_long(lines_before + 1, read_bytes - len(rest))
            continue
        # `join` copies this large block once; adding up the parts would copy it several times.
        body = b"".join([rest, memoryview(block)[:end]])
        rest = block[end:]
        yield _later_lines(body, lines_before)
        lines_before += count_line_ends(body)
    if rest.strip():
        yield _later_lines(rest, lines_before)


def _later_lines(body: bytes, lines_before: int) -> Part:
    """Make a part of lines. A blank line hides what denotes a format at the start of a file.

    Otherwise a line such as `[1]` would refuse its whole part if it happens to be the first line.
    """
    if lines_before and (_ARRAY.match(body) or _has_mark(body)):
        return Part(b"\n" + body, lines_before - 1)
    return Part(body, lines_before)


def _has_mark(body: bytes) -> bool:
    try:
        return strip_mark(body) is not body
    except MalformedBody:
        return True


def _line_too_long(line: int, first_byte: int) -> MalformedBody:
    limit = f"is longer than {ROW_BYTES_MAX} bytes"
    return MalformedBody(f"line {line} {limit}; it begins at byte {first_byte} of the file")


def cut_csv(blocks: Iterator[bytes]) -> Iterator[Part]:
    """Cut CSV at the ends of rows. Each part begins with the header, which is line 1.

    A row that is longer than ROW_BYTES_MAX has an unclosed quote. So it is cut at a line end, and
    its lines are rejected as malformed.

    Raises:
        MalformedBody: a line is longer than ROW_BYTES_MAX.
    """
    header = b""
    lines_before = read_bytes = 0
    rest = b""
    for block in blocks:
        read_bytes += len(block)
        text = rest + block
        end = _last_row_end(text)
        if not end and len(text) > ROW_BYTES_MAX:
            end = text.rfind(b"\n") + 1
            if not end:
                raise _line_too_long(lines_before + 1 + bool(header), read_bytes - len(text))
        rest = text[end:]
        if not end:
            continue
        yield Part(header + text[:end], lines_before)
        lines_before += count_line_ends(memoryview(text)[:end])
        if not header:
            # Later parts begin with the header too, but there it is no line of the file.
            header = text[: text.find(b"\n") + 1]
            lines_before -= 1
    if rest.strip():
        yield Part(header + rest, lines_before)


def _last_row_end(block: bytes) -> int:
    """Find the end of the last complete row of a CSV block: the last line end outside of quotes."""
    end = block.rfind(b"\n") + 1
    quotes = block.count(b'"', 0, end)
    while quotes % 2:
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    return end


def cut_document(blocks: Iterator[bytes]) -> Iterator[Part]:
    """Cut a JSON array between elements, or JSON objects that follow each other.

    Raises:
        MalformedBody: it has no end, or data after its end, or an element is longer than
            ROW_BYTES_MAX.
    """
    rest = _Rest()
    first = next(blocks, b"")
    second = next(blocks, b"")
    while second and not strip_mark(first).strip():  # only a byte order mark or white space
        rest.drop(first)
        first, second = second, next(blocks, b"")
    if not second:
        # Older versions did not cut documents. A small file keeps the key that it had there.
        yield Part(first, 0, rest.first_byte + len(first) - len(strip_mark(first)), rest.line_ends)
        return
    rest.text = strip_mark(first).lstrip()
    in_array = rest.text.startswith(b"[")
    rest.text = rest.text.removeprefix(b"[")
    rest.drop(first[: len(first) - len(rest.text)])
    before = 0
    later = chain([second], blocks)
    for block in chain([b""], later):
        rest.text += block
        found = find_elements(rest.text) if in_array else find_objects(rest.text)
        part = rest.text[: found.end]
        if found.closed and before and not part.strip():
            raise MalformedBody(f"has a comma before the end of its array {rest.at(found.end)}")
        after = rest.text[found.next_start :]
        if found.closed and (after.strip() or any(block.strip() for block in later)):
            raise MalformedBody(f"has data after the end of its array {rest.at(found.end)}")
        if found.count:
            body = b"[%b]" % part if in_array else part
            yield Part(body, before, rest.first_byte - in_array, rest.line_ends)
            before += found.count
        if found.closed:
            return
        rest.drop(rest.text[: found.next_start])
        rest.text = after
        if len(rest.text) > ROW_BYTES_MAX:
            limit = f"is longer than {ROW_BYTES_MAX} bytes"
            raise MalformedBody(f"element {before + 1} {limit} {rest.at_start()}")
    if in_array or rest.text.strip():
        fault = "is cut short: its array or its last object does not end"
        raise MalformedBody(f"{fault} {rest.at_start()}")


class _Rest:
    """The text of a document that is in no part yet, and where in the file it begins."""

    def __init__(self) -> None:
        self.text = b""
        self.first_byte = self.line_ends = 0

    def drop(self, text: bytes) -> None:
        """Note that the file has this text before the rest."""
        self.first_byte += len(text)
        self.line_ends += count_line_ends(text)

    def at(self, index: int) -> str:
        """Describe a place in the text, for people."""
        return locate(self.text, index, first_byte=self.first_byte, line_ends=self.line_ends)

    def at_start(self) -> str:
        """Describe where the first element of the text begins."""
        return self.at(len(self.text) - len(self.text.lstrip()))


def locate(text: bytes, index: int, *, first_byte: int, line_ends: int) -> str:
    """Describe the place of a byte of a text that begins at `first_byte` of a file, for people."""
    line = line_ends + text.count(b"\n", 0, max(index, 0)) + 1
    return f"(line {line}, byte {first_byte + index} of the file)"
