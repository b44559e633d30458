"""Cut the text of a file into parts that can be parsed by themselves.

The functions get the text in blocks. They yield the body of each part, and the number of lines (in
a JSON document: of elements) before it. The memory in use does not depend on the size of the file.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

from openengagement.errors import MalformedBody
from openengagement.ingest.formats.json_documents import find_elements, find_objects
from openengagement.ingest.formats.text_rows import count_line_ends, strip_mark

ROW_BYTES_MAX: Final = 64 * 2**20
Bodies = Iterator[tuple[bytes, int]]


def cut_lines(blocks: Iterator[bytes]) -> Bodies:
    """Cut NDJSON at line ends.

    Raises:
        MalformedBody: a line is longer than ROW_BYTES_MAX.
    """
    lines_before = 0
    rest = b""
    for block in blocks:
        end = block.rfind(b"\n") + 1
        if not end:
            rest += block
            if len(rest) > ROW_BYTES_MAX:
                raise MalformedBody(f"line {lines_before + 1} is longer than {ROW_BYTES_MAX} bytes")
            continue
        # `join` copies this large block once; adding up the parts would copy it several times.
        body = b"".join([rest, memoryview(block)[:end]])
        rest = block[end:]
        yield body, lines_before
        lines_before += count_line_ends(body)
    if rest.strip():
        yield rest, lines_before


def cut_csv(blocks: Iterator[bytes]) -> Bodies:
    """Cut CSV at the ends of rows. Each part begins with the header, which is line 1.

    A row that is longer than ROW_BYTES_MAX has an unclosed quote. So it is cut at a line end, and
    its lines are rejected as malformed.

    Raises:
        MalformedBody: a line is longer than ROW_BYTES_MAX.
    """
    header = b""
    lines_before = 0
    rest = b""
    for block in blocks:
        text = rest + block
        end = _last_row_end(text)
        if not end and len(text) > ROW_BYTES_MAX:
            end = text.rfind(b"\n") + 1
            if not end:
                raise MalformedBody(f"line {lines_before + 2} is longer than {ROW_BYTES_MAX} bytes")
        rest = text[end:]
        if not end:
            continue
        yield header + text[:end], lines_before
        lines_before += count_line_ends(memoryview(text)[:end])
        if not header:
            # Later parts begin with the header too, but there it is no line of the file.
            header = text[: text.find(b"\n") + 1]
            lines_before -= 1
    if rest.strip():
        yield header + rest, lines_before


def _last_row_end(block: bytes) -> int:
    """Find the end of the last complete row of a CSV block: the last line end outside of quotes."""
    end = block.rfind(b"\n") + 1
    quotes = block.count(b'"', 0, end)
    while quotes % 2:
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    return end


def cut_document(blocks: Iterator[bytes]) -> Bodies:
    """Cut a JSON array between elements, or JSON objects that follow each other.

    Raises:
        MalformedBody: it has no end, or data after its end, or an element is longer than
            ROW_BYTES_MAX.
    """
    first = next(blocks, b"")
    second = next(blocks, b"")
    while second and not strip_mark(first).strip():  # only a byte order mark or white space
        first, second = second, next(blocks, b"")
    if not second:
        # Older versions did not cut documents. A small file keeps the key that it had there.
        yield first, 0
        return
    text = strip_mark(first).lstrip()
    in_array = text.startswith(b"[")
    text = text.removeprefix(b"[")
    before = 0
    later = chain([second], blocks)
    for block in chain([b""], later):
        text += block
        found = find_elements(text) if in_array else find_objects(text)
        part, text = text[: found.end], text[found.next_start :]
        if found.closed and before and not part.strip():
            raise MalformedBody("has a comma before the end of its array")
        if found.count:
            yield (b"[%b]" % part if in_array else part), before
            before += found.count
        if found.closed:
            if text.strip() or any(block.strip() for block in later):
                raise MalformedBody("has data after the end of its array")
            return
        if len(text) > ROW_BYTES_MAX:
            raise MalformedBody(f"element {before + 1} is longer than {ROW_BYTES_MAX} bytes")
    if in_array or text.strip():
        raise MalformedBody("is cut short: its array or its last object does not end")
