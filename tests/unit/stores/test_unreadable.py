"""A page of a segment that the disk cannot read: no process ends, and no number is wrong."""

import errno
import json
import mmap
import os
from pathlib import Path

import pytest

from openengagement.stores.embedded.checksums import populate
from support.cases import cases
from support.forked import run_file

SCRIPT = Path(__file__).with_name("unreadable.py")
ARRAYS = ("ids", "starts", "cells", "counts", "checksums")
HOURS, TOTALS = ([f"{section}.{name}" for name in ARRAYS] for section in ("hours", "totals"))
EVERY = {"head", "hours.checksums", "totals.checksums"}  # read when a file is opened
FILE = "counters.segments/"


def outcomes(operation):
    """Run an operation for each page. Return the outcomes by array, for its pages in order."""
    done = run_file(SCRIPT, operation)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.returncode, lines[-1:], done.stderr[-2000:])
    found = {}
    for part, outcome in lines:
        if outcome != "starts":
            found.setdefault(part.partition(" ")[0], []).append(outcome)
    assert found.pop("none") == ["right"]
    assert found.keys() == {"head", *HOURS, *TOTALS}
    return found


@cases(
    ("operation", "used"),
    [
        ("read_totals", {*EVERY, *TOTALS}),
        ("read_hours", {*EVERY, *HOURS}),
        ("merge", {*HOURS, *TOTALS, "head"}),
        ("prune", {*HOURS, *TOTALS, "head"}),
        ("prune_nothing", {*EVERY, *HOURS}),
        ("backup", {*HOURS, *TOTALS, "head"}),
    ],
)
def test_an_operation_that_uses_the_page_is_refused(operation, used):
    for part, found in outcomes(operation).items():
        assert set(found) == {FILE if part in used else "right"}, part


def test_a_read_of_one_tweet_needs_all_ids_but_no_other_page():
    """A search may use any id."""
    for part, found in outcomes("read_one").items():
        column = part.rpartition(".")[2]
        if part in EVERY or column == "ids":
            assert set(found) == {FILE}, part
        else:
            assert found == [FILE] + ["right"] * (len(found) - 1), part


class Refusing(mmap.mmap):
    """A mapping whose pages the kernel refuses to populate."""

    error = 0

    def madvise(self, *_):
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("error", [errno.EFAULT, errno.EIO, 133])
def test_a_page_that_the_kernel_cannot_read_is_an_error(error):
    """The last error is that of broken memory."""
    with Refusing(-1, 10_000) as data:
        data.error = error
        with pytest.raises(OSError, match=r"cannot be read \(in bytes 4096 to 9000\)"):
            populate(data, 5000, end=9000)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOMEM])
def test_a_kernel_that_does_not_know_the_advice_reads_on_access(error):
    with Refusing(-1, 10_000) as data:
        data.error = error
        populate(data, 5000, end=9000)
