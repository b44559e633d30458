"""Run an operation while a page of a segment file cannot be read, once for each page.

Prints two lines of JSON for each case: the part of the file with "starts", and with the outcome. A
process that touches such a page ends with SIGBUS, as on a disk that cannot read it.
"""

import ctypes
import json
import mmap
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from openengagement.engagement import counters
from openengagement.engagement.types import TYPE_NAMES
from openengagement.errors import StoreDamaged
from openengagement.stores.embedded import checksums, segments
from openengagement.stores.embedded.compaction import Compactor
from support.folders import open_store
from unit.stores.test_damage import HOURS, RIGHT, TWEETS, fill

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    *[ctypes.c_int] * 3,
    ctypes.c_long,
]
MAP_FIXED = 0x10


def poison(data, offset, empty):
    """Map an empty file over a page: there is nothing to read."""
    address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    place = address + offset - offset % mmap.PAGESIZE
    flags = mmap.MAP_SHARED | MAP_FIXED
    got = LIBC.mmap(place, mmap.PAGESIZE, mmap.PROT_READ, flags, empty.fileno(), 0)
    assert got == place


class BadDisk(mmap.mmap):
    """Maps files. The page at `offset` of the file `name` cannot be read."""

    name, offset = "", 0
    empty = tempfile.TemporaryFile()  # noqa: SIM115

    def __new__(cls, file, *arguments, **options):
        data = super().__new__(cls, file, *arguments, **options)
        if Path(f"/proc/self/fd/{file}").readlink().name == cls.name:
            poison(data, cls.offset, cls.empty)
        return data


def read_totals(store):
    assert store.read_totals(list(TWEETS), TYPE_NAMES).tolist() == RIGHT


def read_hours(store):
    hours = store.read_buckets(list(TWEETS), TYPE_NAMES, start_hour=0, end_hour=HOURS)
    assert hours.sum(axis=2).tolist() == RIGHT


def read_one(store):
    """Read the first Tweet. A search for it uses ids all over the file."""
    assert store.read_totals([TWEETS[0]], TYPE_NAMES).tolist() == RIGHT[:1]
    hours = store.read_buckets([TWEETS[0]], TYPE_NAMES, start_hour=0, end_hour=HOURS)
    assert hours.sum(axis=2).tolist() == RIGHT[:1]


def merge(store):
    merger = store._compactor._merger
    try:
        merger.merge(merger.files())
    except StoreDamaged:
        assert len(merger.files()) == 2
        assert len(merger.mergeable()) < 2, "the next merge would fail for the same reason"
        raise
    read_totals(store)


def prune(store):
    assert store.prune(oldest_hour=1) == 2 * len(TWEETS)


def prune_nothing(store):
    assert store.prune(oldest_hour=0) == 0


def backup(store):
    with tempfile.TemporaryDirectory() as folder:
        store.copy_to(Path(folder))


OPERATIONS = (read_totals, read_hours, read_one, merge, prune, prune_nothing, backup)


def make_folder(folder):
    with closing(open_store(folder)) as store:
        merger = store._compactor._merger
        for part in (range(3), range(3, HOURS)):
            fill(store, hours=part)
            merger.merge(merger.unflushed())
        return [store._folder / each.file for each in merger.files()]


def pages(path):
    """Yield a name and an offset for each page that holds a part of an array, or the head."""
    yield "head", 0
    for name, dtype, length, at in segments._read_head(path.read_bytes()):
        end = at + length * np.dtype(dtype).itemsize
        for number, offset in enumerate(range(at, end, mmap.PAGESIZE)):
            yield f"{name} {number}", offset


def run(operate, folder):
    try:
        with closing(open_store(folder)) as store:
            operate(store)
    except StoreDamaged as error:
        return error.file
    return "right"


def main(name, place):
    (operate,) = [each for each in OPERATIONS if each.__name__ == name]
    Compactor.notify_commit = lambda _: None
    checksums._BLOCK_BYTES = 4096
    counters._PART_ROWS = 3000
    whole, copy = place / "whole", place / "copy"
    whole.mkdir()
    file, _ = make_folder(whole)
    mmap.mmap = BadDisk
    for BadDisk.name, (part, BadDisk.offset) in [
        ("", ("none", 0)),
        *((file.name, each) for each in pages(file)),
    ]:
        shutil.copytree(whole, copy)
        print(json.dumps([part, "starts"]), flush=True)
        outcome = run(operate, copy)
        print(json.dumps([part, outcome.removesuffix(file.name)]), flush=True)
        shutil.rmtree(copy)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], Path(folder))
