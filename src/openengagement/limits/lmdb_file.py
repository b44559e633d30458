"""Verify an LMDB file before it is mapped.

LMDB trusts its file. An access to a page beyond the end of a truncated file ends the process with
SIGBUS, and a page of garbage can do so too. This module follows the trees of the newest snapshot
from their roots, as LMDB would, and verifies the header of every page. It also verifies that no
page is used twice, or listed as free although it is used: LMDB would overwrite such a page.

The layout is that of LMDB 0.9 on 64 bits (`mdb.c`, "Page format").
"""

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

_HEAD: Final = struct.Struct("<QHHHH")  # number, padding, flags, lower, upper
_META: Final = struct.Struct("<IIQQ")  # magic, version, address, size of the map
_TREE: Final = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, three counts, entries, root
_LAST: Final = struct.Struct("<QQ")  # last page, transaction
_NODE: Final = struct.Struct("<HHHH")  # low and high half of a number, flags, size of the key
_MAGIC: Final = 0xBEEFC0DE
_BRANCH, _LEAF, _OVERFLOW, _KIND = 1, 2, 4, 15
_BIG_VALUE: Final = 1  # flag of a node whose value is in overflow pages
_NO_ROOT: Final = 2**64 - 1
_PAGE_SIZES: Final = {1 << bits for bits in range(9, 17)}
_METAS: Final = 2  # pages before the first one of a tree
_WORD_BYTES: Final = 8
_DEPTH_MAX: Final = 32  # `CURSOR_STACK`


class _Tree(NamedTuple):
    page_bytes: int
    flags: int
    depth: int
    branches: int
    leaves: int
    overflows: int
    entries: int
    root: int


class _DamagedError(Exception):
    """A page is not what its tree says. The text names it."""


def find_damage(path: Path) -> str | None:
    """Say what is damaged in a file; None if it is sound, empty, or missing.

    A file that another process has open is not verified: it changes meanwhile.
    """
    if not path.is_file() or not path.stat().st_size or is_open(path):
        return None
    with path.open("rb") as file:
        try:
            _Walk(file.fileno()).verify()
        except _DamagedError as error:
            return str(error)
        except struct.error:
            return "its pages do not fit together"
    return None


def is_open(path: Path) -> bool:
    """Whether a process has opened the file with LMDB, which then locks the first byte."""
    with contextlib.suppress(FileNotFoundError), Path(f"{path}-lock").open("r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except BlockingIOError:
            return True
    return False


class _Walk:
    def __init__(self, file: int) -> None:
        self._file = file
        self._size = os.fstat(file).st_size
        self._page_bytes = os.sysconf("SC_PAGESIZE")
        self._seen: set[int] = set()  # pages in use, and free ones
        self._last = 0

    def verify(self) -> None:
        metas = [self._read_meta(0)]
        self._page_bytes = metas[0][0][0].page_bytes
        if self._page_bytes not in _PAGE_SIZES:
            raise _DamagedError("its page size is invalid")
        metas.append(self._read_meta(1))
        trees, self._last, _ = max(metas, key=lambda meta: meta[2])
        for tree, is_free_list in zip(trees, (True, False), strict=True):
            if tree.root != _NO_ROOT:
                depth = min(tree.depth, _DEPTH_MAX)
                found = self._count(tree.root, depth, is_free_list=is_free_list)
                if found != tree.entries:
                    raise _DamagedError(f"it has {found} entries instead of {tree.entries}")

    def _read_meta(self, number: int) -> tuple[tuple[_Tree, _Tree], int, int]:
        """Read the two trees of a snapshot, its last page, and the number of its transaction."""
        page = os.pread(self._file, 512, number * self._page_bytes)
        at = _HEAD.size
        if _META.unpack_from(page, at)[0] != _MAGIC:
            raise _DamagedError(f"page {number} is not the head of an LMDB file")
        at += _META.size
        trees = (
            _Tree(*_TREE.unpack_from(page, at)),
            _Tree(*_TREE.unpack_from(page, at + _TREE.size)),
        )
        last, transaction = _LAST.unpack_from(page, at + 2 * _TREE.size)
        return trees, last, transaction

    def _note(self, first: int, count: int = 1) -> None:
        """Note pages that are in use or free. Each may be noted once."""
        pages = range(first, first + count)
        if first < _METAS or first + count > self._last + 1 or not self._seen.isdisjoint(pages):
            raise _DamagedError(f"page {first} is used twice, or is not in the file")
        self._seen.update(pages)

    def _count(self, number: int, depth: int, *, is_free_list: bool) -> int:
        """Verify the pages below this one, and count their entries."""
        self._note(number)
        page, nodes = self._read_page(number, _BRANCH if depth > 1 else _LEAF)
        if depth > 1:
            children = [_child(page, node) for node in nodes]
            return sum(
                self._count(child, depth - 1, is_free_list=is_free_list) for child in children
            )
        for node in nodes:
            _, _, flags, key_bytes = _NODE.unpack_from(page, node)
            value = page[node + _NODE.size + key_bytes :]
            if flags & _BIG_VALUE:
                value = self._read_overflow(*struct.unpack_from("<Q", value))
            if is_free_list:
                self._note_free(value)
        return len(nodes)

    def _note_free(self, value: bytes) -> None:
        """Note the pages of an entry of the free list: their count, then their numbers."""
        (count,) = struct.unpack_from("<Q", value)
        if count > self._last:
            raise _DamagedError("its list of free pages is damaged")
        for number in struct.unpack_from(f"<{count}Q", value, _WORD_BYTES):
            self._note(number)

    def _read_page(self, number: int, kind: int) -> tuple[bytes, list[int]]:
        """Read a page, and the offsets of its nodes."""
        page = os.pread(self._file, self._page_bytes, number * self._page_bytes)
        if len(page) < self._page_bytes:
            raise _DamagedError(f"it ends before page {number}")
        own, _, flags, lower, upper = _HEAD.unpack_from(page)
        if own != number or flags & _KIND != kind or not _HEAD.size <= lower <= upper <= len(page):
            raise _DamagedError(f"page {number} is damaged")
        count = (lower - _HEAD.size) // 2
        nodes = list(struct.unpack_from(f"<{count}H", page, _HEAD.size))
        if any(not upper <= node <= len(page) - _NODE.size for node in nodes):
            raise _DamagedError(f"page {number} is damaged")
        return page, nodes

    def _read_overflow(self, first: int) -> bytes:
        """Read a value that has pages of its own."""
        page = os.pread(self._file, _HEAD.size, first * self._page_bytes)
        own, _, flags = struct.unpack_from("<QHH", page)
        (count,) = struct.unpack_from("<I", page, 12)
        whole = (first + count) * self._page_bytes <= self._size
        if own != first or flags & _KIND != _OVERFLOW or not whole:
            raise _DamagedError(f"page {first} is damaged")
        self._note(first, count)
        size = count * self._page_bytes - _HEAD.size
        return os.pread(self._file, size, first * self._page_bytes + _HEAD.size)


def _child(page: bytes, node: int) -> int:
    low, high, flags, _ = _NODE.unpack_from(page, node)
    return int(low | high << 16 | flags << 32)
