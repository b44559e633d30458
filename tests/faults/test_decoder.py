"""The decoder of Parquet and Arrow is killed while a live server decodes a batch."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from faults.counting import write_tweets
from faults.crashing import open_session
from support.waiting import PATIENCE_S, wait_for

ROWS = 1_000_000
AT_S = int(time.time()) // 3600 * 3600 - 7200
DECODER = b"openengagement.ingest.formats.column_decoder"


def make_body():
    """A batch of events that takes the decoder a moment."""
    chance = np.random.default_rng(1)
    table = pa.table(
        {
            "tweet_id": pa.array(chance.integers(1, 4, ROWS)),
            "type": pa.array(["favorites"] * ROWS),
            "at": pa.array(AT_S - chance.integers(0, 3600, ROWS), pa.timestamp("s", "UTC")),
        }
    )
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def body():
    return make_body()


@pytest.fixture
def server(crashing, tmp_path):
    crashing.workers = 1
    crashing.settings = {"batch_timeout_s": str(PATIENCE_S)}  # on a slow machine
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", 3)))
    crashing.start()
    return crashing


def children_of(process):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())


class Killer:
    """Kills decoders of a server while its block lasts, at most `most` of them.

    With `parent_too`, it also kills the process that forks them.
    """

    def __init__(self, server, *, most, parent_too):
        self._server, self._most, self._parent_too = server, most, parent_too
        self.killed = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._done.wait(0.001) and len(self.killed) < self._most:
            for parent, fork in self._find():
                if fork not in self.killed and len(self.killed) < self._most:
                    self.killed.append(fork)
                    for process in [parent, fork] if self._parent_too else [fork]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(process, signal.SIGKILL)

    def _find(self):
        """Find the decoders, each with the process that forked it."""
        for counting in self._server.counting_running():
            for parent in filter(self._is_decoder, children_of(counting)):
                yield from ((parent, fork) for fork in children_of(parent))

    @staticmethod
    def _is_decoder(process):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            return DECODER in Path(f"/proc/{process}/cmdline").read_bytes()
        return False

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def send(server, body):
    with open_session() as session:
        return session.post(
            f"{server.url}/platform/v1/events",
            data=body,
            headers={
                "Authorization": f"Bearer {server.platform_key}",
                "Idempotency-Key": "one",
                "Content-Type": "application/vnd.apache.parquet",
            },
            timeout=PATIENCE_S,
        )


def favorites(server):
    asked = {
        "tweet_ids": ["1", "2", "3"],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": ["engagement.type"]}},
    }
    return int(server.ask("totals", asked)["all"]["favorites"])


def failures(server):
    return server.log().count('"decoder_failed"')


@pytest.mark.parametrize("parent_too", [False, True])
def test_a_decoder_that_is_always_killed(server, body, parent_too):
    """503, and nothing is counted. The same batch with the same key then counts once."""
    with Killer(server, most=100, parent_too=parent_too) as killer:
        answer = send(server, body)
    assert answer.status_code == 503, answer.text
    assert answer.headers["x-error-code"] == "unavailable"
    assert answer.headers["retry-after"] == "1"
    assert "send this batch again" in answer.json()["errors"][0]
    assert len(killer.killed) >= 2
    wait_for(lambda: failures(server) == 2)
    assert favorites(server) == 0
    again = send(server, body)
    assert (again.status_code, again.json()["accepted"]) == (200, ROWS), again.text
    assert again.json()["duplicate"] is False
    assert favorites(server) == ROWS
    assert send(server, body).json()["duplicate"] is True
    assert favorites(server) == ROWS


@pytest.mark.parametrize("parent_too", [False, True])
def test_a_decoder_that_is_killed_once(server, body, parent_too):
    """A fresh process decodes the batch again, from its start."""
    with Killer(server, most=1, parent_too=parent_too) as killer:
        answer = send(server, body)
    assert (answer.status_code, answer.json()["accepted"]) == (200, ROWS), answer.text
    assert len(killer.killed) == 1
    wait_for(lambda: failures(server) == 1)
    assert favorites(server) == ROWS
    assert send(server, body).json()["duplicate"] is True
    assert favorites(server) == ROWS
