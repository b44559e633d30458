"""The numbers of all processes in shared memory: what happens when processes end and begin."""

import multiprocessing
import os
import signal
import threading

import pytest

from openengagement.metrics import cells, table
from openengagement.metrics.cells import SLOTS, Board
from openengagement.metrics.metric import Metric, attach, is_first
from support.waiting import PATIENCE_S

FORK = multiprocessing.get_context("fork")
BATCHES = 'openengagement_batches_total{kind="events",result="applied"}'


def run(path, work, *, end=None):
    """Run `work` in a process that counts; return its exit code. It ends itself with `end`."""

    def main():
        attach(path)
        work()
        if end is not None:
            os.kill(os.getpid(), end)

    process = FORK.Process(target=main)
    process.start()
    process.join()
    return process.exitcode


def count_batches(amount):
    return lambda: table.BATCHES.add(amount, "events", "applied")


def test_processes_add_up(path, scrape):
    for amount in (1, 2, 4):
        assert run(path, count_batches(amount)) == 0
    assert scrape()[BATCHES] == 7


def test_counters_continue_after_kill_9(path, scrape):
    for number in range(1, 4):
        assert run(path, count_batches(1), end=signal.SIGKILL) == -signal.SIGKILL
        assert scrape()[BATCHES] == number


def test_a_process_continues_in_the_slot_of_a_dead_one(path):
    for _ in range(5):
        assert run(path, count_batches(1), end=signal.SIGKILL) == -signal.SIGKILL
    assert len(list(Board(path).read())) == 1


def test_a_gauge_ends_with_its_process(path, scrape):
    begun, ends = FORK.Event(), FORK.Event()

    def stay():
        table.IN_FLIGHT.set(3)
        table.DISK_BYTES.set(100)
        begun.set()
        ends.wait()

    process = FORK.Process(target=lambda: (attach(path), stay()))
    process.start()
    begun.wait()
    found = scrape()
    assert found["openengagement_http_requests_in_flight"] == 3
    assert found["openengagement_disk_bytes"] == 100
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert "openengagement_http_requests_in_flight" not in scrape()
    assert run(path, count_batches(1)) == 0  # in the same slot
    assert "openengagement_disk_bytes" not in scrape()


def test_gauges_of_several_processes(path, scrape):
    ready, ends = FORK.Barrier(4), FORK.Event()

    def stay(value):
        attach(path)
        table.IN_FLIGHT.set(value)
        table.DISK_BYTES.set(value)
        ready.wait()
        ends.wait()

    processes = [FORK.Process(target=stay, args=(value,)) for value in (3, 5, 4)]
    for process in processes:
        process.start()
    ready.wait()
    found = scrape()
    ends.set()
    for process in processes:
        process.join()
    assert found["openengagement_http_requests_in_flight"] == 12
    assert found["openengagement_disk_bytes"] == 5


def test_threads_lose_no_count(path, scrape):
    attach(path)

    def work():
        for _ in range(20_000):
            table.RECORDS.add(1, "events", "accepted")
            table.COMMIT_SECONDS.observe(0.5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = scrape()
    assert found['openengagement_records_total{kind="events",result="accepted"}'] == 160_000
    assert found["openengagement_commit_duration_seconds_count"] == 160_000
    assert found["openengagement_commit_duration_seconds_sum"] == 80_000


def test_threads_that_add_the_same_series(path, scrape):
    attach(path)
    barrier = threading.Barrier(8)

    def work():
        barrier.wait()
        for number in range(100):
            table.REQUESTS.add(1, f"/{number}", "200", "")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = scrape()
    assert {
        found[f'openengagement_http_requests_total{{endpoint="/{number}",status="200",code=""}}']
        for number in range(100)
    } == {8}


def test_reading_while_others_write_sees_whole_series(path, scrape):
    attach(path)
    done = threading.Event()

    def work():
        for number in range(1500):
            table.REQUESTS.add(1, f"/{number}", "200", "")
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    seen = 0
    while not done.is_set():
        requests = [name for name in scrape() if name.startswith("openengagement_http_requests_t")]
        assert len(requests) >= seen
        seen = len(requests)
    thread.join()
    assert (
        len([name for name in scrape() if name.startswith("openengagement_http_requests_t")])
        == 1500
    )


def test_a_full_slot_refuses_new_series_and_keeps_counting_old_ones(path, scrape):
    attach(path)
    table.REQUESTS.add(1, "/first", "200", "")
    for number in range(20_000):
        table.REQUESTS.add(1, f"/{number}", "200", "")
        table.REQUEST_SECONDS.observe(1, f"/{number}")
    table.REQUESTS.add(1, "/first", "200", "")
    found = scrape()
    assert len(found) < 20_000
    assert found['openengagement_http_requests_total{endpoint="/first",status="200",code=""}'] == 2


def test_more_processes_than_slots_are_refused(path):
    boards = [Board(path) for _ in range(SLOTS + 1)]
    for board in boards[:-1]:
        board.claim()
    with pytest.raises(OSError, match="more processes than slots"):
        boards[-1].claim()


def test_one_process_at_a_time_is_the_first(path):
    attach(path)
    assert is_first()
    assert is_first()  # it stays so
    results = FORK.SimpleQueue()
    assert run(path, lambda: results.put(is_first())) == 0
    assert results.get() is False


def test_the_first_process_has_a_successor(path):
    results = FORK.SimpleQueue()
    for _ in range(2):
        assert run(path, lambda: results.put(is_first())) == 0
        assert results.get() is True


def test_a_fork_leaves_the_slot_to_its_parent(path, scrape):
    attach(path)
    table.IN_FLIGHT.set(1)

    def main():
        table.IN_FLIGHT.set(9)
        table.COMMITS.add(9, "committed")

    process = FORK.Process(target=main)
    process.start()
    process.join()
    assert process.exitcode == 0
    found = scrape()
    assert found["openengagement_http_requests_in_flight"] == 1
    assert found['openengagement_commits_total{result="committed"}'] == 0


def test_a_fork_while_the_parent_counts_does_not_hang(path):
    attach(path)
    with table.COMMITS._lock:  # as a thread of the parent would hold it

        def main():
            table.COMMITS.add(1, "committed")

        process = FORK.Process(target=main)
        process.start()
        process.join(PATIENCE_S)
        assert process.exitcode == 0


def test_memory_that_is_gone_is_an_error():
    with pytest.raises(OSError, match="No such file"):
        attach("/proc/self/fd/4711")


def test_the_first_increase_of_a_counter_is_seen(path, scrape):
    """`increase()` of a series that begins at 1 is 0, so every closed series begins at 0."""
    attach(path)
    found = scrape()
    assert found['openengagement_log_lines_total{process="worker",level="error"}'] == 0
    assert found["openengagement_merge_failures_total"] == 0
    assert found['openengagement_sign_ins_total{method="password",result="too_many_attempts"}'] == 0
    assert found['openengagement_batch_duration_seconds_bucket{kind="events",le="+Inf"}'] == 0


def test_all_series_of_a_server_fit_into_a_slot(path):
    """Every endpoint with every status and code that it has, and some more."""
    attach(path)
    for endpoint in range(60):
        for code in range(25):
            table.REQUESTS.add(
                1, f"/platform/v1/accounts/{endpoint:02}", "400", f"a_long_code_{code:02}"
            )
        table.REQUEST_SECONDS.observe(1, f"/platform/v1/accounts/{endpoint:02}")
    places = [place for each in Metric.all.values() for place in each._places.values()]
    assert cells._UNREAD not in places
