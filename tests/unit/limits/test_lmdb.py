"""Nonces and rate windows: a nonce is good once among all, and no request is left uncounted."""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import lmdb
import pytest

from openengagement.limits.contract import LimitsUnusable, Nonce, RateWindow
from openengagement.limits.lmdb import LmdbLimits

T = 1_795_342_500
MINUTE, SECOND = 60, 1


@pytest.fixture
def limits(tmp_path):
    opened = LmdbLimits(tmp_path)
    yield opened
    opened.close()


def nonce(text="n", at=T):
    return Nonce(at, text.encode())


def test_a_nonce_is_good_once(limits):
    assert limits.remember_nonce(nonce())
    assert not limits.remember_nonce(nonce())


def test_another_time_or_another_digest_is_another_nonce(limits):
    assert all(limits.remember_nonce(one) for one in (nonce(), nonce(at=T + 1), nonce("m")))


def test_a_request_counts_in_each_window(limits):
    windows = limits.count(b"5", {MINUTE: 10, SECOND: 2}, now_s=T + 0.5)

    assert windows == [RateWindow(10, 1, T + 60), RateWindow(2, 1, T + 1)]
    again = limits.count(b"5", {MINUTE: 10, SECOND: 2}, now_s=T + 0.9)
    assert [(window.used, window.remaining) for window in again] == [(2, 8), (2, 0)]
    assert not any(window.exceeded for window in again)


def test_past_the_limit(limits):
    for used in range(1, 6):
        (window,) = limits.count(b"5", {MINUTE: 3}, now_s=T)
        assert (window.used, window.remaining, window.exceeded) == (
            used,
            max(0, 3 - used),
            used > 3,
        )


def test_windows_roll_over_on_the_clock(limits):
    start = T // 60 * 60
    used = []
    for now_s in (start, start + 59.999, start + 60, start + 60.5, start + 119.9, start + 600):
        (window,) = limits.count(b"5", {MINUTE: 9}, now_s=now_s)
        used.append(window.used)
        assert window.reset_s == (now_s // 60 + 1) * 60

    assert used == [1, 2, 1, 2, 3, 1]


def test_windows_of_different_lengths_roll_over_apart(limits):
    both = {MINUTE: 9, SECOND: 9}
    used = [
        [window.used for window in limits.count(b"5", both, now_s=T + at)] for at in (0, 0.5, 1, 60)
    ]

    assert used == [[1, 1], [2, 2], [3, 1], [1, 1]]


def test_apps_are_counted_apart(limits):
    for _ in range(3):
        limits.count(b"5", {MINUTE: 9}, now_s=T)

    assert limits.count(b"6", {MINUTE: 9}, now_s=T)[0].used == 1


def test_a_new_limit_holds_at_once(limits):
    limits.count(b"5", {MINUTE: 9}, now_s=T)
    (window,) = limits.count(b"5", {MINUTE: 1}, now_s=T)

    assert (window.limit, window.used, window.exceeded) == (1, 2, True)


def test_admitting_remembers_and_counts(limits):
    assert limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T)[0].used == 1
    assert not limits.remember_nonce(nonce())
    assert limits.count(b"5", {MINUTE: 9}, now_s=T)[0].used == 2


def test_a_replay_counts_nothing(limits):
    limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T)
    for _ in range(5):
        assert limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T) is None

    assert limits.count(b"5", {MINUTE: 9}, now_s=T)[0].used == 2


def test_a_fault_in_the_middle_leaves_nothing(limits):
    with pytest.raises(ZeroDivisionError):
        limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9, 0: 9}, now_s=T)

    assert limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T)[0].used == 1


def test_tidying_forgets_what_is_too_old(limits):
    for at in range(10):
        limits.remember_nonce(nonce(at=T + at))
    limits.count(b"5", {MINUTE: 9}, now_s=T)
    limits.expire(oldest_timestamp=T + 4)

    assert [at for at in range(10) if limits.remember_nonce(nonce(at=T + at))] == [0, 1, 2, 3]
    assert limits.count(b"5", {MINUTE: 9}, now_s=T)[0].used == 2


def test_tidying_while_others_write(limits):
    """Nothing that still counts is forgotten, and nobody is refused."""
    with ThreadPoolExecutor(4) as pool:
        tidied = [pool.submit(limits.expire, oldest_timestamp=T) for _ in range(20)]
        first = list(pool.map(lambda at: limits.remember_nonce(nonce(str(at))), range(200)))
        for each in tidied:
            each.result()

    assert all(first)
    assert not any(limits.remember_nonce(nonce(str(at))) for at in range(200))


def test_the_file_stays_small(tmp_path, limits):
    def turn(at):
        for each in range(400):
            limits.remember_nonce(nonce(f"{at} {each}", at=T + at))
        limits.expire(oldest_timestamp=T + at)
        return sum(file.stat().st_size for file in tmp_path.iterdir())

    sizes = [turn(at) for at in range(12)]

    assert sizes[-1] <= 2 * sizes[1]


def test_another_boot_begins_anew(tmp_path, monkeypatch):
    """What a crash of the machine leaves of an unsynced file is not to be relied on."""
    boot = tmp_path / "boot_id"
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr("openengagement.limits.lmdb._BOOT_ID", boot)
    boot.write_text("one\n")
    first = LmdbLimits(folder)
    first.remember_nonce(nonce())
    first.close()
    again = LmdbLimits(folder)
    assert not again.remember_nonce(nonce())
    again.close()
    boot.write_text("two\n")
    later = LmdbLimits(folder)
    assert later.remember_nonce(nonce())
    later.close()
    assert boots_in(folder) == {"limits-one", "limits-two"}

    # Once nobody has written to it for an hour.
    for file in folder.glob("limits-one*"):
        os.utime(file, (T, T))
    LmdbLimits(folder).close()
    assert boots_in(folder) == {"limits-two"}


def boots_in(folder):
    return {file.name.partition(".")[0] for file in folder.glob("limits-*")}


@pytest.fixture
def used(tmp_path, monkeypatch):
    """A file in which a nonce was used; nobody has it open."""
    monkeypatch.setattr("openengagement.limits.lmdb._BOOT_ID", tmp_path / "none")
    first = LmdbLimits(tmp_path)
    first.remember_nonce(nonce())
    first.close()
    return tmp_path / "limits-unknown.lmdb"


@pytest.mark.parametrize("left", [b"", bytes(100), bytes(8192), os.urandom(8192), "its head"])
def test_a_file_that_a_crash_left_broken_is_begun_anew(used, left):
    used.write_bytes(used.read_bytes()[:4096] if left == "its head" else left)
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
    """Others may be using it; and the text says what to change."""

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
        [sys.executable, "-c", ADMIT, str(tmp_path)],
        input="go\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most)),
    )

    assert "LimitsUnusable" in starved.stderr
    assert "ulimit -v" in starved.stderr
    (answer,) = admit_in_processes(tmp_path, 1)
    assert len(answer) == 149
    assert not limits.remember_nonce(Nonce(T, b"2"))


def test_others_may_not_read_it(tmp_path, limits):
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_replay_is_refused_among_threads(limits):
    def admit(at):
        return limits.remember_nonce_and_count(
            nonce(str(at % 25)), b"5", limits={MINUTE: 1000}, now_s=T
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(admit, range(200)))

    admitted = [answer[0].used for answer in answers if answer is not None]
    assert sorted(admitted) == list(range(1, 26))


# What makes each hesitate lets another begin the file anew meanwhile, if it can.
ADMIT = """
import json, lmdb, random, sys, time
from pathlib import Path
from openengagement.limits.contract import Nonce
from openengagement.limits.lmdb import LmdbLimits
really_open = lmdb.open
def open_or_hesitate(*arguments, **options):
    try:
        return really_open(*arguments, **options)
    except lmdb.InvalidError:
        time.sleep(random.random() / 3)
        raise
lmdb.open = open_or_hesitate
sys.stdin.readline()
limits = LmdbLimits(Path(sys.argv[1]))
answers = [
    limits.remember_nonce_and_count(
        Nonce(1795342500, b"%d" % at), b"5", limits={60: 1000}, now_s=1795342500
    )
    for at in range(150)
]
print(json.dumps([answer[0].used for answer in answers if answer]))
limits.close()
"""


def admit_in_processes(folder, number):
    """Each admits the same nonces, all at once; returns how each counted those it let in."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ADMIT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(number)
    ]
    time.sleep(0.3)  # all wait at the line by then
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * number, [end[1] for end in ends]
    return [json.loads(end[0]) for end in ends]


@pytest.mark.parametrize("left", [None, b"no file of LMDB" * 1000])
def test_a_replay_is_refused_among_processes(tmp_path, left):
    """They make the file together, too, or mend it: workers start side by side."""
    if left:
        LmdbLimits(tmp_path).close()
        (file,) = tmp_path.glob("limits-*.lmdb")
        file.write_bytes(left)

    admitted = [used for each in admit_in_processes(tmp_path, 6) for used in each]
    assert sorted(admitted) == list(range(1, 151))
