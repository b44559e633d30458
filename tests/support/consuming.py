"""Run `openengagement consume` as a process, and know what it must have counted."""

import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openengagement.clock import SystemClock
from openengagement.stores.cluster.opening import open_cluster
from support import stores
from support.cli import EXECUTABLE, server_environment
from support.folders import open_store
from support.waiting import PATIENCE_S, wait_for

TYPES = ("replies", "favorites", "retweets", "url_clicks")
# A consumer ends 4.5 s after a signal at the latest. The rest is for a busy machine.
STOP_MAX_S = 30


def start_consumer(data: Path, url: str, *options: str, settings: Any = None) -> "Consumer":
    return Consumer(data, url, *options, settings=settings)


class Consumer:
    """A consumer in a process of its own. Its output is in a file."""

    def __init__(self, data: Path, url: str, *options: str, settings: Any = None) -> None:
        self.log = data.parent / f"consumer-{time.monotonic_ns()}.log"
        command = [str(EXECUTABLE), "--data", str(data), "consume", url, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=server_environment(settings, data)
            )

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(PATIENCE_S)

    def terminate(self) -> float:
        """Ask it to end. Return how many seconds that took."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        return time.monotonic() - began

    def finish(self) -> dict[str, Any]:
        """Wait until it ends by itself, and return what it printed with `--json`."""
        assert self.process.wait(PATIENCE_S) == 0, self.said()
        printed: dict[str, Any] = json.loads(self.said().splitlines()[-1])
        return printed


class Events:
    """Random events, and the sums of all that were made."""

    def __init__(self, seed: int = 0, *, tweets: int = 20) -> None:
        self._chance = random.Random(seed)
        self._tweets = range(1, tweets + 1)
        self.counts: Counter[tuple[int, str]] = Counter()

    def make(self, events: int) -> bytes:
        """Return a message."""
        lines = []
        for _ in range(events):
            tweet_id, type_ = self._chance.choice(self._tweets), self._chance.choice(TYPES)
            count = self._chance.randint(1, 5)
            hour = self._chance.randrange(24)
            self.counts[tweet_id, type_] += count
            lines.append(
                f'{{"tweet_id":"{tweet_id}","type":"{type_}",'
                f'"at":"2025-11-22T{hour:02}:30:00Z","count":{count}}}\n'
            )
        return "".join(lines).encode()

    def messages(self, number: int, *, events: int = 10) -> Iterator[bytes]:
        return (self.make(events) for _ in range(number))

    def read(self, data: Path) -> Counter[tuple[int, str]]:
        """Read the totals of the same Tweets from a data folder."""
        store = _open(data)
        if store is None:
            return Counter()
        try:
            sums = store.read_totals(list(self._tweets), TYPES).tolist()
        finally:
            store.close()
        pairs = zip(self._tweets, sums, strict=True)
        found = {(id_, t): n for id_, row in pairs for t, n in zip(TYPES, row, strict=True) if n}
        return Counter(found)

    def wait_until_counted(self, data: Path, said: Any = "counted") -> None:
        """Wait until the totals are right. They must never be higher."""

        def counted() -> bool:
            found = self.read(data)
            assert not found - self.counts, "counted twice"
            return found == self.counts

        wait_for(counted, pause_s=0.1, reason=said)


def _open(data: Path) -> Any:
    """Open the counters as a server does. None before the consumer has made them."""
    settings = stores.settings_of(data)
    if settings:
        urls = settings["registry"], settings["store"]
        return open_cluster(*urls, clock=SystemClock(), idempotency_keep_days=9)
    return open_store(data) if (data / "counters.sqlite3").exists() else None
