"""What `limits.contract` promises, for every implementation, in one process and in several."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from contract.limits_backends import BACKENDS
from openengagement.errors import StoreUnavailable
from openengagement.limits.contract import SUBJECT_BYTES_MAX, Nonce, RateWindow
from openengagement.limits.postgresql import init_limits
from support.forked import Dialogue
from support.waiting import wait_for

T = 1_795_342_500  # a full minute
MINUTE, SECOND = 60, 1
WORKER = Path(__file__).with_name("limits_worker.py")


@pytest.fixture(params=BACKENDS)
def opener(request, tmp_path):
    """Opens the limits under test; every call opens the same ones."""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        init_limits(server.url)
        server.run("TRUNCATE nonces, rate_windows, clocks")
        (tmp_path / "url").write_text(server.url)

    def open_limits():
        return BACKENDS[request.param](tmp_path)

    open_limits.arguments = [request.param, str(tmp_path)]
    return open_limits


@pytest.fixture
def limits(opener):
    opened = opener()
    yield opened
    opened.close()


def nonce(text="n", timestamp=T):
    return Nonce(timestamp, text.encode())


def used(limits, subject=b"5", now_s=T):
    """How often the subject was counted in this minute, this time included."""
    return limits.count(subject, {MINUTE: 10}, now_s=now_s)[0].used


# Nonces.


def test_a_nonce_is_new_once(limits):
    assert limits.remember_nonce(nonce())
    assert not limits.remember_nonce(nonce())


def test_another_timestamp_or_digest_is_another_nonce(limits):
    several = (nonce(), nonce(timestamp=T + 1), nonce("m"), nonce(timestamp=10**12 - 1))
    assert all(limits.remember_nonce(each) for each in several)
    assert not any(limits.remember_nonce(each) for each in several)


# Windows.


def test_a_request_counts_in_every_window_in_the_order_given(limits):
    windows = limits.count(b"5", {MINUTE: 10, SECOND: 2}, now_s=T + 0.5)

    assert windows == [RateWindow(10, 1, T + 60), RateWindow(2, 1, T + 1)]
    again = limits.count(b"5", {SECOND: 2, MINUTE: 10}, now_s=T + 0.9)
    assert [(window.used, window.remaining) for window in again] == [(2, 0), (2, 8)]
    assert not any(window.exceeded for window in again)


def test_counts_go_on_beyond_the_limit(limits):
    for number in range(1, 6):
        (window,) = limits.count(b"5", {MINUTE: 3}, now_s=T)
        found = (window.used, window.remaining, window.exceeded)
        assert found == (number, max(0, 3 - number), number > 3)


def test_a_window_begins_at_a_multiple_of_its_length(limits):
    found = []
    for now_s in (T, T + 59.999, T + 60, T + 60.5, T + 119.9, T + 600):
        (window,) = limits.count(b"5", {MINUTE: 9}, now_s=now_s)
        found.append(window.used)
        assert window.reset_s == (now_s // 60 + 1) * 60

    assert found == [1, 2, 1, 2, 3, 1]


def test_windows_of_different_lengths_are_counted_apart(limits):
    both = {MINUTE: 9, SECOND: 9}
    found = [
        [window.used for window in limits.count(b"5", both, now_s=T + after_s)]
        for after_s in (0, 0.5, 1, 60)
    ]

    assert found == [[1, 1], [2, 2], [3, 1], [1, 1]]


def test_subjects_are_counted_apart(limits):
    longest = b"s" * SUBJECT_BYTES_MAX
    subjects = [b"5", b"6", b"55", b"\x00", b"\xff" * 16, longest, longest[:-1]]
    for subject in subjects:
        assert [used(limits, subject), used(limits, subject)] == [1, 2]


def test_a_subject_and_a_nonce_of_the_same_bytes_have_nothing_in_common(limits):
    limits.remember_nonce(nonce("5", timestamp=T + 60))
    assert used(limits, b"5") == 1
    assert limits.remember_nonce(nonce("5", timestamp=T))


def test_a_changed_limit_applies_to_the_current_window(limits):
    limits.count(b"5", {MINUTE: 9}, now_s=T)
    (window,) = limits.count(b"5", {MINUTE: 1}, now_s=T)

    assert (window.limit, window.used, window.exceeded) == (1, 2, True)


def test_uncounting_takes_one_off_the_current_window_of_that_length(limits):
    for _ in range(3):
        limits.count(b"5", {MINUTE: 9, SECOND: 9}, now_s=T)
    limits.uncount(b"5", MINUTE, now_s=T + 59)
    found = limits.count(b"5", {MINUTE: 9, SECOND: 9}, now_s=T)

    assert [window.used for window in found] == [3, 4]
    limits.uncount(b"5", MINUTE, now_s=T + 60)
    assert used(limits) == 4
    assert used(limits, now_s=T + 60) == 1


def test_no_count_falls_below_zero(limits):
    for _ in range(3):
        limits.uncount(b"5", MINUTE, now_s=T)

    assert used(limits) == 1


def test_reading_windows_counts_nothing(limits):
    both = {MINUTE: 10, SECOND: 2}
    empty = [RateWindow(10, 0, T + 60), RateWindow(2, 0, T + 1)]
    assert limits.read(b"5", both, now_s=T + 0.5) == empty
    counted = [limits.count(b"5", both, now_s=T + 0.5) for _ in range(3)][-1]
    for _ in range(3):
        assert limits.read(b"5", both, now_s=T + 0.7) == counted
    assert [window.exceeded for window in counted] == [False, True]
    assert limits.read(b"6", both, now_s=T) == empty
    assert limits.read(b"5", {MINUTE: 10}, now_s=T + 60) == [RateWindow(10, 0, T + 120)]


# Both in one step.


def test_a_new_nonce_is_remembered_and_counted(limits):
    both = {MINUTE: 9, SECOND: 2}
    windows = limits.remember_nonce_and_count(nonce(), b"5", limits=both, now_s=T)

    assert windows == [RateWindow(9, 1, T + 60), RateWindow(2, 1, T + 1)]
    assert not limits.remember_nonce(nonce())
    assert used(limits) == 2


def test_a_used_nonce_is_not_counted(limits):
    limits.remember_nonce(nonce())
    for _ in range(5):
        found = limits.remember_nonce_and_count(nonce(), b"5", limits={MINUTE: 9}, now_s=T)
        assert found is None

    assert used(limits) == 1


# Expiry.

WINDOW_S = 300


def expire(limits, *, oldest_timestamp, jumped_s=0):
    """Expire at the time when this timestamp is the oldest one that may be used."""
    now_s = oldest_timestamp + WINDOW_S + 1
    uptime_s = now_s - jumped_s - T + 10_000
    return limits.expire(now_s=now_s, uptime_s=uptime_s, window_s=WINDOW_S)


def test_expiry_removes_older_nonces_and_windows_that_ended(limits):
    for after_s in range(10):
        limits.remember_nonce(nonce(timestamp=T + after_s))
    used(limits)
    expire(limits, oldest_timestamp=T + 4)

    new = [s for s in range(10) if limits.remember_nonce(nonce(timestamp=T + s))]
    assert new == [0, 1, 2, 3]
    assert used(limits) == 2
    expire(limits, oldest_timestamp=T + 61)
    assert used(limits) == 1


def test_expiry_of_many(limits):
    several = [nonce(str(number)) for number in range(1_200)]
    for each in several:
        limits.remember_nonce(each)
    expire(limits, oldest_timestamp=T)
    assert not limits.remember_nonce(several[-1])
    expire(limits, oldest_timestamp=T + 1)
    assert all(limits.remember_nonce(each) for each in several[::100])


def test_expiry_while_others_write(limits):
    """No nonce that is still in use is removed, and no call fails."""
    with ThreadPoolExecutor(4) as pool:
        expiries = [pool.submit(expire, limits, oldest_timestamp=T) for _ in range(20)]
        first = list(pool.map(lambda n: limits.remember_nonce(nonce(str(n))), range(200)))
        for each in expiries:
            each.result()

    assert all(first)
    assert not any(limits.remember_nonce(nonce(str(number))) for number in range(200))


def expire_at(limits, *, passed_s, jumped_s=0):
    """Expire when this much real time has passed since T, and the clock was set by `jumped_s`."""
    now_s = T + passed_s + jumped_s
    return limits.expire(now_s=now_s, uptime_s=10_000 + passed_s, window_s=WINDOW_S)


@pytest.mark.parametrize("jumped_s", [700, 3600, 91 * 86_400, 10 * 365 * 86_400])
def test_a_clock_that_jumps_forward_and_back_forgets_no_nonce(opener, jumped_s):
    """Also if the server was restarted for it."""
    limits = opener()
    expire_at(limits, passed_s=0)
    limits.remember_nonce(nonce())
    limits.close()
    limits = opener()
    for passed_s in (5, 10):
        expire_at(limits, passed_s=passed_s, jumped_s=jumped_s)
    assert not limits.remember_nonce(nonce())
    expire_at(limits, passed_s=15)
    assert not limits.remember_nonce(nonce())
    expire_at(limits, passed_s=WINDOW_S + 2)
    assert limits.remember_nonce(nonce())
    limits.close()


def test_a_clock_that_stays_ahead_is_trusted_after_twice_the_window(limits):
    """As after a start with the clock of 2020, which then gets the right time."""
    expire_at(limits, passed_s=0)
    for passed_s in range(0, 1000, 5):
        limits.remember_nonce(nonce(str(passed_s), timestamp=T + 1_000_000 + passed_s))
        expire_at(limits, passed_s=passed_s, jumped_s=1_000_000)
        if passed_s <= 2 * WINDOW_S:
            assert not limits.remember_nonce(nonce("0", timestamp=T + 1_000_000))
    assert limits.remember_nonce(nonce("0", timestamp=T + 1_000_000))


@pytest.mark.parametrize("jumped_s", [-100, -3600, -10 * 365 * 86_400])
def test_a_clock_that_jumps_back_forgets_no_nonce(limits, jumped_s):
    expire_at(limits, passed_s=0)
    limits.remember_nonce(nonce())
    for passed_s in (5, 400, 900):
        expire_at(limits, passed_s=passed_s, jumped_s=jumped_s)
        assert limits.remember_nonce(nonce()) is (passed_s + jumped_s > WINDOW_S)


def test_a_clock_that_jumps_further_and_further_forgets_no_nonce(limits):
    expire_at(limits, passed_s=0)
    limits.remember_nonce(nonce())
    for passed_s in range(5, 250, 5):
        expire_at(limits, passed_s=passed_s, jumped_s=100 * passed_s)
        assert not limits.remember_nonce(nonce())


def test_a_jump_is_returned_once(limits):
    assert expire_at(limits, passed_s=0) is None
    assert expire_at(limits, passed_s=5, jumped_s=30) is None
    assert expire_at(limits, passed_s=10, jumped_s=700) == pytest.approx(670)
    assert expire_at(limits, passed_s=10, jumped_s=700) is None
    assert expire_at(limits, passed_s=15) == pytest.approx(-700)
    assert expire_at(limits, passed_s=15) is None


# Threads and processes.


def test_among_threads_every_nonce_is_new_once_and_every_request_is_counted(limits):
    def enforce(number):
        each = nonce(str(number % 25))
        return limits.remember_nonce_and_count(each, b"5", limits={MINUTE: 9}, now_s=T)

    with ThreadPoolExecutor(8) as pool:
        found = [windows for windows in pool.map(enforce, range(200)) if windows is not None]

    assert sorted(windows[0].used for windows in found) == list(range(1, 26))


def test_state_outlives_every_process_that_opened_it(opener):
    first = opener()
    first.remember_nonce(nonce())
    used(first)
    first.close()
    again = opener()

    assert not again.remember_nonce(nonce())
    assert used(again) == 2
    again.close()


@pytest.fixture
def workers(opener):
    """Three of them, ready."""
    made = [Dialogue(WORKER, *opener.arguments) for _ in range(3)]
    assert [worker.answer() for worker in made] == ["ready"] * 3
    yield made
    for worker in made:
        assert worker.close() in {0, -signal.SIGKILL}


def test_processes_share_nonces_and_counts(limits, workers):
    for number in range(10):
        one, other, _ = workers
        assert one.ask("remember", f"{number}")
        assert not other.ask("remember", f"{number}")
        assert not limits.remember_nonce(nonce(f"{number}"))
        counts = [one.ask("count", "5"), other.ask("count", "5"), used(limits)]
        assert counts == [3 * number + 1, 3 * number + 2, 3 * number + 3]


def test_among_processes_every_nonce_is_new_once_and_every_request_is_counted(workers):
    times = 300
    for worker in workers:
        worker.send("race", times)
    found = [count for worker in workers for count in worker.answer()]

    assert sorted(found) == list(range(1, times + 1))


def test_killed_processes_lose_nothing_and_block_nobody(limits, workers):
    *killed, survivor = workers
    for number, worker in enumerate(killed):
        assert worker.ask("remember", f"{number}")
        assert worker.ask("count", "5") == number + 1
        worker.ask("race", 100)
    for worker in killed:
        worker.send("race", 10**6)
    time.sleep(0.1)  # both are in the middle of it
    for worker in killed:
        worker.kill()

    assert not survivor.ask("remember", "1")
    assert not limits.remember_nonce(nonce("0"))
    assert used(limits) == 3

    def is_whole():
        nonces, windows = limits.read_all()
        counted = sum(window.used for window in windows if window.subject == b"race")
        assert counted >= 100
        remembered = {each.digest for each in nonces if each.digest.startswith(b"race")}
        return remembered == {b"race %d" % number for number in range(counted)}

    # Each of their calls took effect wholly or not at all: as many nonces as counts. A server may
    # still commit the last call of a process that was killed.
    wait_for(is_whole)


# Moves to other limits.


def test_everything_is_read_and_added_once(limits, tmp_path):
    (tmp_path / "target").mkdir()
    target = BACKENDS["lmdb"](tmp_path / "target")
    try:
        limits.remember_nonce(nonce("a"))
        limits.remember_nonce(nonce("b", T + 1))
        for _ in range(3):
            limits.count(b"5", {MINUTE: 10, SECOND: 10}, now_s=T)
        for _ in range(2):  # it may be repeated
            target.add_all(*limits.read_all())
            limits.add_all(*target.read_all())
        assert sorted(target.read_all()[1]) == sorted(limits.read_all()[1])
        for each in (target, limits):
            assert not each.remember_nonce(nonce("a"))
            assert not each.remember_nonce(nonce("b", T + 1))
            assert each.remember_nonce(nonce("c"))
            assert used(each) == 4
    finally:
        target.close()


def test_of_two_counts_the_higher_stays(limits):
    for _ in range(3):
        used(limits)
    windows = limits.read_all()[1]
    used(limits)
    limits.add_all([], windows)
    assert used(limits) == 5


def test_sealed_limits_refuse(limits):
    limits.remember_nonce(nonce())
    assert not limits.is_sealed()
    limits.seal("it is being moved")
    try:
        assert limits.is_sealed()
        for call in (
            lambda: limits.remember_nonce(nonce("new")),
            lambda: limits.count(b"5", {MINUTE: 10}, now_s=T),
            lambda: limits.remember_nonce_and_count(
                nonce("new"), b"5", limits={MINUTE: 9}, now_s=T
            ),
        ):
            with pytest.raises(StoreUnavailable, match="it is being moved"):
                call()
    finally:
        limits.release()
    assert limits.remember_nonce(nonce("new"))
    assert used(limits) == 1
    limits.release()
    assert not limits.is_sealed()


def test_sealed_limits_stay_so_after_a_restart_of_the_machine(tmp_path, monkeypatch):
    with closing(BACKENDS["lmdb"](tmp_path)) as limits:
        limits.seal("it is being moved")
    monkeypatch.setattr("openengagement.limits.lmdb.boot_id", lambda: "another")
    with closing(BACKENDS["lmdb"](tmp_path)) as limits:
        with pytest.raises(StoreUnavailable, match="it is being moved"):
            limits.remember_nonce(nonce())
        limits.release()
    with closing(BACKENDS["lmdb"](tmp_path)) as limits:
        assert limits.remember_nonce(nonce())
