"""`kill -9` during merges: acknowledged commits count once, and no file is left over."""

import random
import subprocess
import sys
import threading
from pathlib import Path

from faults.merging import TWEETS
from openengagement.clock import SystemClock
from openengagement.engagement.types import TYPE_NAMES
from openengagement.stores.embedded import manifest
from openengagement.stores.embedded.store import EmbeddedStore

SCRIPT = Path(__file__).with_name("merging.py")
LIVES = 25


def test_whenever_it_is_killed(tmp_path):
    chance, path, commits = random.Random(), tmp_path / "counters.sqlite3", 0
    for _ in range(LIVES):
        printed = live(path, first=commits, seconds=chance.uniform(0.02, 0.6))
        commits = check(path, least=commits + printed)
    assert commits > LIVES, "there was nothing to kill"


def live(path, *, first, seconds):
    """Commit until killed, some seconds after the first commit. Return the printed commits."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, path, str(first)], stdout=subprocess.PIPE, text=True
    )
    printed = [process.stdout.readline()]
    threading.Timer(seconds, process.kill).start()
    printed += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    whole = [line for line in printed if line.endswith("\n")]
    assert [int(line) for line in whole] == list(range(first, first + len(whole)))
    return len(whole)


def check(path, *, least):
    """All printed commits count, and at most one more, completely. Return how many count."""
    store = EmbeddedStore(path, clock=SystemClock(), idempotency_keep_days=90)
    try:
        totals = store.read_totals(list(TWEETS), TYPE_NAMES)
        hours = store.read_buckets(list(TWEETS), TYPE_NAMES, start_hour=0, end_hour=50)
        assert (hours.sum(axis=2) == totals).all()
        commits = int(totals[0, TYPE_NAMES.index("replies")])
        assert least <= commits <= least + 1
        assert (totals[:, TYPE_NAMES.index("replies")] == commits).all()
        favorites = totals[:, TYPE_NAMES.index("favorites")].tolist()
        assert favorites == [commits * tweet for tweet in TWEETS]
        keys = store._database.connection().execute("SELECT count(*) FROM batches").fetchone()[0]
        assert keys == commits
        store._compactor.folder.remove_leftovers()
        listed = manifest.list_segments(store._database.connection())
        folder = path.with_suffix(".segments")
        files = {each.name for each in folder.iterdir() if not each.name.endswith(".lock")}
        assert files == {each.file for each in listed if each.file}
    finally:
        store.close()
    return commits
