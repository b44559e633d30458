"""`openengagement load` killed at random moments and repeated: every line counts once."""

import gzip
import random
import signal
import subprocess
import threading
import time

import pytest

from faults.counting import Batch, Span, check_counts, write_tweets
from faults.crashing import Producers, open_session
from support.cli import EXECUTABLE, server_environment
from support.waiting import PATIENCE_S, wait_for

TWEETS = 60


def start_load(data, *arguments):
    command = [EXECUTABLE, "--data", data, "load", *arguments, "--json"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=server_environment(),
        start_new_session=True,
    )


class Lines:
    """A file of events with its counts, in the form of a batch."""

    def __init__(self, span, path, *, lines, first=1, seed=0):
        chance = random.Random(seed)
        body = Batch(span, "file", list(range(first, first + TWEETS)), lines=5000, seed=seed)
        rows = body.body.splitlines(keepends=True)
        times = -(-lines // len(rows))
        self.tweet_ids = body.tweet_ids
        self.counts = {key: count * times for key, count in body.counts.items()}
        self.lines = times * len(rows)
        pack = gzip.open if path.suffix == ".gz" else open
        with pack(path, "wb") as file:
            for _ in range(times):
                chance.shuffle(rows)
                file.write(b"".join(rows))
        self.path = path


def kill_until_it_ends(data, path, *, kills, seed):
    """Start a load repeatedly, kill it at random moments, and let the last one finish."""
    chance = random.Random(seed)
    for _ in range(kills):
        run = start_load(data, "events", str(path))
        try:
            run.wait(chance.uniform(0.5, 5))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        run.communicate()
    run = start_load(data, "events", str(path))
    out, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, err.decode()[-1000:]
    return out


def prepare(crashing, tmp_path):
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", 40_000)))


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
def test_a_load_killed_many_times(crashing, tmp_path, name):
    prepare(crashing, tmp_path)
    span = Span()
    lines = Lines(span, tmp_path / name, lines=1_200_000)

    out = kill_until_it_ends(crashing.data, lines.path, kills=8, seed=1)

    assert f'"accepted":{lines.lines}'.encode() in out
    crashing.start()
    check_counts(crashing, [lines], span)


def test_a_load_killed_while_the_server_is_killed_too(crashing, tmp_path):
    prepare(crashing, tmp_path)
    span, chance = Span(), random.Random(3)
    lines = Lines(span, tmp_path / "events.ndjson", lines=600_000)
    done = threading.Event()

    def load():
        try:
            kill_until_it_ends(crashing.data, lines.path, kills=5, seed=2)
        finally:
            done.set()

    loading = threading.Thread(target=load)
    loading.start()
    while not done.is_set():
        crashing.start()
        time.sleep(chance.uniform(0.1, 1.5))
        crashing.kill()
    loading.join()

    crashing.start()
    check_counts(crashing, [lines], span)


def test_two_loads_and_producers_at_once(crashing, tmp_path):
    """Both loads have one file in common, and producers send events on the same Tweets."""
    prepare(crashing, tmp_path)
    span = Span()
    files = [
        Lines(span, tmp_path / f"events{seed}.ndjson", lines=300_000, seed=seed)
        for seed in range(3)
    ]
    sent, lock = [], threading.Lock()
    sessions = [open_session() for _ in range(3)]
    crashing.start()

    def produce(name, number):
        batch = Batch(span, f"{name} {number}", [1, 2, 100 + name], lines=30, seed=number)
        while True:
            answer = crashing.send(sessions[name], "events", batch.body, key=batch.key)
            if answer is not None and answer.status_code == 200:
                break
            assert answer is None or answer.status_code == 503, answer.text[:300]
            producers.patience()
        with lock:
            sent.append(batch)

    def sent_more(number):
        before = len(sent)
        wait_for(lambda: len(sent) > before + number or producers.errors)

    with (producers := Producers(3, produce)):
        sent_more(5)
        paths = [str(lines.path) for lines in files]
        loads = [
            start_load(crashing.data, "events", *pair)
            for pair in ([paths[0], paths[1]], [paths[0], paths[2]])
        ]
        for load in loads:
            out, err = load.communicate(timeout=PATIENCE_S)
            assert load.returncode == 0, err.decode()[-1000:]
            assert f'"accepted":{2 * files[0].lines}'.encode() in out
        sent_more(5)
    for session in sessions:
        session.close()

    check_counts(crashing, [*files, *sent], span)
