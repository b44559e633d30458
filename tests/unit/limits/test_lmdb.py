"""The LMDB file of the limits: when it is created, replaced, removed and refused."""

import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import lmdb
import pytest

from openengagement.damage import Inspection
from openengagement.errors import StoreUnavailable
from openengagement.limits import lmdb as lmdb_module
from openengagement.limits import lmdb_file
from openengagement.limits.contract import LimitsUnusable, Nonce
from openengagement.limits.lmdb import LmdbLimits, file_of_boot
from openengagement.limits.lmdb_file import find_damage
from openengagement.limits.opening import check_limits
from support.forked import run_python
from support.waiting import PATIENCE_S

T = 1_795_342_500
MINUTE = 60


@pytest.fixture
def limits(tmp_path):
    opened = LmdbLimits(tmp_path)
    yield opened
    opened.close()


def nonce(text="n", timestamp=T):
    return Nonce(timestamp, text.encode())


def test_a_call_that_fails_in_the_middle_changes_nothing(limits):
    with pytest.raises(ZeroDivisionError):
        limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9, 0: 9}, now_s=T)

    assert limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T)[0].used == 1


def test_the_file_stays_small(tmp_path, limits):
    def size_after(second):
        for number in range(400):
            limits.remember_nonce(nonce(f"{second} {number}", timestamp=T + second))
        limits.expire(now_s=T + second + 301, uptime_s=1000 + second, window_s=300)
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    sizes = [size_after(second) for second in range(12)]

    assert sizes[-1] <= 2 * sizes[1]


def test_a_new_boot_starts_a_new_file(tmp_path, monkeypatch):
    """The file is never synced, so a crash of the machine can leave it damaged."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr("openengagement.limits.lmdb.boot_id", lambda: "one")
    first = LmdbLimits(folder)
    first.remember_nonce(nonce())
    first.close()
    again = LmdbLimits(folder)
    assert not again.remember_nonce(nonce())
    again.close()
    monkeypatch.setattr("openengagement.limits.lmdb.boot_id", lambda: "two")
    later = LmdbLimits(folder)
    assert later.remember_nonce(nonce())
    later.close()
    assert boots_in(folder) == {"limits-one", "limits-two"}

    # The old file goes once it was not written to for an hour.
    for file in folder.glob("limits-one*"):
        os.utime(file, (T, T))
    LmdbLimits(folder).close()
    assert boots_in(folder) == {"limits-two"}


def boots_in(folder):
    return {file.name.partition(".")[0] for file in folder.glob("limits-*")}


@pytest.fixture
def used(tmp_path, monkeypatch):
    """A file that holds a used nonce; no process has it open."""
    monkeypatch.setattr("openengagement.limits.lmdb.boot_id", lambda: None)
    first = LmdbLimits(tmp_path)
    first.remember_nonce(nonce())
    first.close()
    return tmp_path / "limits-unknown.lmdb"


@pytest.mark.parametrize("damage", [b"", bytes(100), bytes(8192), os.urandom(8192), "its head"])
def test_a_file_damaged_by_a_crash_is_replaced(used, damage):
    used.write_bytes(used.read_bytes()[:4096] if damage == "its head" else damage)
    again = LmdbLimits(used.parent)

    assert again.remember_nonce(nonce())
    assert not again.remember_nonce(nonce())
    again.close()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (lmdb.MemoryError, "16 GiB more of address space"),
        (lmdb.ReadonlyError, "the server's user"),
        (lmdb.DiskError, "free space"),
        (lmdb.VersionMismatchError, "stop every server"),
        (lmdb.Error, "stop every server"),
    ],
)
def test_a_file_that_cannot_be_opened_is_kept(used, monkeypatch, error, advice):
    """Other processes may be using it. The error says what to change."""

    def fail(*_, **__):
        raise error("no")

    with monkeypatch.context() as broken:
        broken.setattr(lmdb, "open", fail)
        with pytest.raises(LimitsUnusable, match=advice):
            LmdbLimits(used.parent)
    again = LmdbLimits(used.parent)
    assert not again.remember_nonce(nonce())
    again.close()


def test_too_little_address_space_forgets_nothing(tmp_path, limits):
    limits.remember_nonce_and_count(Nonce(T, b"1"), b"5", limits={MINUTE: 9}, now_s=T)
    most = 1 << 33
    starved = subprocess.run(
        [sys.executable, "-c", USE_NONCES, str(tmp_path)],
        input="go\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )

    assert "LimitsUnusable" in starved.stderr
    assert "ulimit -v" in starved.stderr
    (answer,) = use_in_processes(tmp_path, 1)
    assert len(answer) == 149
    assert not limits.remember_nonce(Nonce(T, b"2"))


def test_only_its_owner_may_read_it(tmp_path, limits):
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


# The delay lets another process replace the file meanwhile, if the lock does not prevent it.
USE_NONCES = """
import json, lmdb, random, sys, time
from pathlib import Path
from openengagement.limits.contract import Nonce
from openengagement.limits.lmdb import LmdbLimits
really_open = lmdb.open
def open_slowly(*arguments, **options):
    try:
        return really_open(*arguments, **options)
    except lmdb.InvalidError:
        time.sleep(random.random() / 3)
        raise
lmdb.open = open_slowly
sys.stdin.readline()
limits = LmdbLimits(Path(sys.argv[1]))
answers = [
    limits.remember_nonce_and_count(
        Nonce(1795342500, b"%d" % number), b"5", limits={60: 1000}, now_s=1795342500
    )
    for number in range(150)
]
print(json.dumps([answer[0].used for answer in answers if answer]))
limits.close()
"""


def use_in_processes(folder, number):
    """Use the same nonces in several processes at once; return the counts that each one got."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USE_NONCES, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    time.sleep(0.3)  # by then all of them wait for the line
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * number, [end[1] for end in ends]
    return [json.loads(end[0]) for end in ends]


@pytest.mark.parametrize("damage", [None, b"no file of LMDB" * 1000])
def test_processes_that_create_or_replace_the_file_together_share_it(tmp_path, damage):
    """Workers start at the same time."""
    if damage:
        LmdbLimits(tmp_path).close()
        (file,) = tmp_path.glob("limits-*.lmdb")
        file.write_bytes(damage)

    counts = [used for each in use_in_processes(tmp_path, 6) for used in each]
    assert sorted(counts) == list(range(1, 151))


def test_a_write_that_does_not_fit_is_refused_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("openengagement.limits.lmdb._MAP_BYTES", 64 * 1024)
    with contextlib.closing(LmdbLimits(tmp_path)) as small:
        given = (nonce(f"{number:016}") for number in range(5000))

        def remember_all():
            for last in given:
                seen.append(last)
                small.remember_nonce_and_count(last, b"5", limits={MINUTE: 9}, now_s=T)

        seen = []
        with pytest.raises(StoreUnavailable, match=r"the limits store is unavailable: .*MAP_FULL"):
            remember_all()
        small._db.set_mapsize(1 << 20)
        assert small.remember_nonce(seen[-1])
        assert small.count(b"5", {MINUTE: 9}, now_s=T)[0].used == len(seen)


def test_a_mistake_of_ours_is_not_hidden(limits):
    with pytest.raises(lmdb.BadValsizeError):
        limits.count(b"x" * 1000, {MINUTE: 9}, now_s=T)


# Damaged files, which LMDB itself would map


@pytest.fixture(scope="module")
def full_file(tmp_path_factory):
    """A file with trees of several levels, a list of free pages, and removed keys."""
    folder = tmp_path_factory.mktemp("full")
    limits, chance = LmdbLimits(folder), random.Random(1)
    for second in range(0, 300, 20):
        for number in range(1000):
            limits.remember_nonce_and_count(
                Nonce(T + second, chance.randbytes(16)), b"%d" % number, limits={1: 9}, now_s=T
            )
        limits.expire(now_s=T + second, uptime_s=T + second, window_s=100)
    limits.remember_nonce(nonce("kept", T + 300))
    limits.close()
    (path,) = folder.glob("limits-*.lmdb")
    assert path.stat().st_size > 100 * 4096
    return path


@pytest.fixture
def full(full_file, tmp_path):
    """A copy of it."""
    return Path(shutil.copy(full_file, tmp_path))


USE_ALL = """
import sys
from pathlib import Path
from openengagement.limits.contract import Nonce
from openengagement.limits.lmdb import LmdbLimits
limits = LmdbLimits(Path(sys.argv[1]))
known = not limits.remember_nonce(Nonce(1795342500 + 300, b"kept"))
for number in range(2000):
    limits.remember_nonce(Nonce(1795342500 + 299, b"%d" % number))
limits.expire(now_s=2e9, uptime_s=2e9, window_s=1)
limits.close()
print("known" if known else "forgotten")
"""


def use_all(folder):
    """Open a file and touch all of it, in a process of its own. Return its output and its log."""
    done = run_python(USE_ALL, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_a_sound_file_is_used(full):
    assert find_damage(full) is None
    assert use_all(full.parent) == ("known", "")


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.95, "two pages", "half a page"])
def test_a_truncated_file_is_replaced_and_logged(full, keep):
    """Without the check, the process would end with SIGBUS."""
    sizes = {"two pages": 8192, "half a page": 2048}
    os.truncate(full, sizes[keep] if keep in sizes else int(full.stat().st_size * keep))
    printed, logged = use_all(full.parent)
    assert printed == "forgotten"
    line = json.loads(logged)
    assert (line["event"], line["file"]) == ("limits_replaced", full.name)
    assert "could be repeated once" in line["effect"]
    assert use_all(full.parent)[1] == ""


@pytest.mark.parametrize("content", [bytes, os.urandom])
@pytest.mark.parametrize("page", [0, 1, "root", "leaf"])
def test_a_page_of_garbage_is_found(full, page, content):
    data = bytearray(full.read_bytes())
    if isinstance(page, str):
        page = find_page(data, kind=1 if page == "root" else 2)
    data[page * 4096 : page * 4096 + 4096] = content(4096)
    full.write_bytes(data)
    printed, logged = use_all(full.parent)
    assert (printed, json.loads(logged)["event"]) == ("forgotten", "limits_replaced")


@pytest.mark.parametrize("free", ["in use", "listed twice", "beyond the end", "of the head"])
def test_a_wrong_list_of_free_pages_is_found(full, monkeypatch, free):
    """LMDB would write over a page that is in use."""
    lists = []
    note_free = lmdb_file._Walk._note_free

    def keep(walk, value):
        lists.append(value)
        note_free(walk, value)

    with monkeypatch.context() as patch:
        patch.setattr(lmdb_file._Walk, "_note_free", keep)
        assert find_damage(full) is None
    data = bytearray(full.read_bytes())
    listed = max(lists, key=lambda value: int.from_bytes(value[:8], "little"))
    wrong = {
        "in use": find_page(data, kind=2),
        "listed twice": int.from_bytes(listed[16:24], "little"),
        "beyond the end": 10**9,
        "of the head": 1,
    }[free]
    at = data.find(listed[:24])
    data[at + 8 : at + 16] = wrong.to_bytes(8, "little")
    full.write_bytes(data)
    assert find_damage(full) == f"page {wrong} is used twice, or is not in the file"
    printed, logged = use_all(full.parent)
    assert (printed, json.loads(logged)["event"]) == ("forgotten", "limits_replaced")


@pytest.mark.parametrize("error", [lmdb.CorruptedError, lmdb.PageNotFoundError])
def test_a_file_whose_damage_only_lmdb_notices_is_replaced(used, monkeypatch, capsys, error):
    def fail(_db):
        raise error("page 7")

    monkeypatch.setattr(lmdb_module, "_try_to_write", fail)
    with contextlib.closing(LmdbLimits(used.parent)) as limits:
        assert limits.remember_nonce(nonce())  # it was used before
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["file"]) == ("limits_replaced", used.name)


def test_the_trial_leaves_nothing(used):
    with contextlib.closing(LmdbLimits(used.parent)) as limits, limits._db.begin() as db:
        before = [*db.cursor()]
    with contextlib.closing(LmdbLimits(used.parent)) as limits, limits._db.begin() as db:
        assert [*db.cursor()] == before


def find_page(data, *, kind):
    """Find the last written page of a kind that is in use: its garbage is not noticed elsewhere."""
    for page in reversed(range(2, len(data) // 4096)):
        if data[page * 4096 + 10] == kind:
            kept = bytes(data)
            data[page * 4096 : page * 4096 + 4096] = bytes(4096)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "x")
                path.write_bytes(data)
                used = find_damage(path) is not None
            data[:] = kept
            if used:
                return page
    raise AssertionError


def test_random_damage_never_ends_the_process(full):
    """Bytes that change within a page may stay unnoticed, but no access leaves the file."""
    chance, sound = random.Random(7), full.read_bytes()
    for _ in range(12):
        data = bytearray(sound)
        at = chance.randrange(len(data) - 4096) // 4096 * 4096
        if chance.random() < 0.5:
            del data[at:]
        else:
            data[at : at + 4096] = chance.randbytes(4096)
        full.write_bytes(data)
        use_all(full.parent)


def test_values_that_damage_made_too_long_are_a_fault_of_the_store(limits, tmp_path):
    count = partial(limits.remember_nonce_and_count, subject=b"5", limits={MINUTE: 9}, now_s=T)
    count(nonce("1"))
    for uptime_s in (1000, 5):  # the clock, and then a jump of it
        limits.expire(now_s=T, uptime_s=uptime_s, window_s=300)
    limits.expire(now_s=T + 9000, uptime_s=6, window_s=300)
    assert limits.list_jumps()
    with limits._db.begin(write=True) as db:
        for key, value in [*db.cursor()]:
            db.put(key, bytes(value) + b"\xff" * 9)
    for call in (
        partial(count, nonce("2")),
        partial(limits.uncount, b"5", MINUTE, now_s=T),
        partial(limits.expire, now_s=T, uptime_s=7, window_s=300),
        limits.list_jumps,
    ):
        with pytest.raises(StoreUnavailable):
            call()
    check_limits(tmp_path, inspection := Inspection(lambda _: None))
    assert [each.file for each in inspection.damaged] == [file_of_boot(tmp_path).name]


def find_damage_elsewhere(path):
    code = (
        "import sys; from pathlib import Path; from openengagement.limits.lmdb_file import *\n"
        "print(find_damage(Path(sys.argv[1])))"
    )
    done = run_python(code, path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_damaged_file_that_a_process_has_open_is_kept(used):
    """Its pages change while it is open, and its nonces must not be forgotten."""
    first = LmdbLimits(used.parent)
    content = used.read_bytes()
    os.truncate(used, 4096)
    assert find_damage_elsewhere(used) == "None"
    used.write_bytes(content)
    first.close()
    os.truncate(used, 4096)
    assert find_damage_elsewhere(used) == "its pages do not fit together"


def test_a_file_is_verified_quickly(full):
    started = time.process_time()  # not that of other processes
    find_damage(full)
    assert time.process_time() - started < 2
