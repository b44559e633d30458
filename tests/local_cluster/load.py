"""Load on a local cluster, with a model of what every answer must be.

Events of one type come through the log, those of another type over HTTP. The model is the sum of
what was sent. A reader asks through the balancer all the time. It checks each answer, and measures
for how long no answer, no new count of the log and no new count of HTTP came.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import polars as pl
import requests

from local_cluster.cluster import LocalCluster
from local_cluster.engagement import subjects_of
from openengagement.sandbox.dataset import ACCOUNTS_SCHEMA, EVENTS_SCHEMA, TWEETS_SCHEMA, Dataset
from openengagement.sandbox.demo import Demo, describe
from openengagement.sandbox.seed import Recipe, make_engagement, register
from support.nats_cluster import publish
from support.waiting import wait_for

IDS = range(1, 13)  # three Tweets or more of each shard and of each subject
TYPES = ("replies", "retweets")  # by the log, and over HTTP
ANSWER_S = 5.0
PAUSE_S = 0.25
AUTHOR = 7


def register_tweets(cluster: LocalCluster) -> Demo:
    """Register the Tweets of the load. Return the demo credentials."""
    now_s = int(time.time())
    empty, _ = make_engagement(Recipe(empty=True), ends_at_s=now_s)
    tweets = {"id": list(IDS), "author_id": AUTHOR, "created_at": now_s - 7200, "video_id": None}
    dataset = Dataset(
        pl.DataFrame([(AUTHOR, "loaded", False)], schema=ACCOUNTS_SCHEMA, orient="row"),
        pl.DataFrame(tweets, schema=TWEETS_SCHEMA),
        EVENTS_SCHEMA.to_frame(),
    )
    with cluster.opened() as folder:
        register(folder, empty, invented=True, now_s=now_s)
        register(folder, dataset, invented=True, now_s=now_s)
        return describe(folder, empty, extra=(0, 0), now_s=now_s)


@dataclass
class Stall:
    """The longest time without progress."""

    value: int = -1
    since_s: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0

    def see(self, value: int) -> None:
        """Note the newest value. Progress is another one."""
        if value != self.value:
            self.longest_s = self.so_far_s()
            self.value, self.since_s = value, time.monotonic()

    def so_far_s(self) -> float:
        """Return the longest time, with the one that has not ended."""
        return max(self.longest_s, time.monotonic() - self.since_s)


class Load:
    """Sends and reads until the end of the block."""

    def __init__(self, cluster: LocalCluster, demo: Demo) -> None:
        self._cluster = cluster
        self._demo = demo
        self._at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        self._begun = dict.fromkeys(TYPES, 0)  # events for each Tweet
        self._sent = dict.fromkeys(TYPES, 0)
        self._runs = threading.Event()
        self._ends = threading.Event()
        self._idle = {name: threading.Event() for name in ("log", "http", "read")}
        self.wrong: list[str] = []
        self.reads = 0
        self.stalls: dict[str, Stall] = {}
        self.reset()
        steps = {"log": self._publish, "http": self._post, "read": self._read}
        self._threads = [
            threading.Thread(target=self._repeat, args=item, daemon=True) for item in steps.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._runs.set()
        for thread in self._threads:
            thread.join()

    def reset(self) -> None:
        """Measure stalls from now on."""
        self.stalls = {name: Stall() for name in ("answers", *TYPES)}

    def resume(self) -> None:
        """Send and read."""
        self.reset()
        self._runs.set()

    def wait_until_exact(self) -> None:
        """Stop sending, and wait until every node answers with the model."""
        self._runs.clear()
        for name, idle in self._idle.items():
            wait_for(idle.is_set, pause_s=0.05, reason=f"{name} ended")
        urls = [*(node.url for node in self._cluster.api), self._cluster.balancer.url]
        for url in urls:
            wait_for(
                lambda url=url: self._ask(url) == self._sent,
                pause_s=0.1,
                reason=lambda url=url: f"{url} {self._ask(url)} is {self._sent}",
            )

    def _repeat(self, name: str, step: Callable[[int], None]) -> None:
        number = 0
        while not self._ends.is_set():
            if not self._runs.is_set():
                self._idle[name].set()
                self._runs.wait()
                self._idle[name].clear()
            step(number)
            number += 1
            self._ends.wait(PAUSE_S)

    def _event(self, tweet_id: int, type_: str) -> bytes:
        event = {"tweet_id": str(tweet_id), "type": type_, "at": self._at}
        return json.dumps(event).encode() + b"\n"

    def _publish(self, number: int) -> None:
        """Publish one event of each Tweet to the log. They count sooner or later."""
        (type_, _) = TYPES
        self._begun[type_] += 1
        bodies: dict[str, bytes] = {}
        for tweet_id, subject in zip(IDS, subjects_of(IDS), strict=True):
            bodies[subject] = bodies.get(subject, b"") + self._event(tweet_id, type_)

        async def send(jetstream: Any) -> None:
            for subject, body in bodies.items():
                await publish(jetstream, subject, body, key=f"load-{subject}-{number}")

        while not self._ends.is_set():
            with suppress(OSError, TimeoutError):
                self._cluster.log.run(send)
                break
        self._sent[type_] += 1

    def _post(self, number: int) -> None:
        """Send one event of each Tweet over HTTP, until they are acknowledged."""
        (_, type_) = TYPES
        self._begun[type_] += 1
        body = b"".join(self._event(tweet_id, type_) for tweet_id in IDS)
        headers = {
            "Authorization": f"Bearer {self._demo.platform_key}",
            "Content-Type": "application/x-ndjson",
            "Idempotency-Key": f"load-{number}",
        }
        url = f"{self._cluster.balancer.url}/platform/v1/events"
        while not self._ends.is_set():
            if _post(url, data=body, headers=headers) is not None:
                break
            self._ends.wait(PAUSE_S)
        self._sent[type_] += 1

    def _read(self, number: int) -> None:
        """Ask the balancer, and check the answer."""
        (_, acknowledged) = TYPES
        least = self._sent[acknowledged]
        found = self._ask(self._cluster.balancer.url)
        most = dict(self._begun)
        if found is None:
            return
        self.reads += 1
        self.stalls["answers"].see(number)
        for type_ in TYPES:
            self.stalls[type_].see(found[type_])
            if found[type_] > most[type_]:
                self.wrong.append(f"{type_}: {found[type_]} of {most[type_]} sent")
        if found[acknowledged] < least:
            self.wrong.append(f"{acknowledged}: {found[acknowledged]} of {least} acknowledged")

    def _ask(self, url: str) -> dict[str, int] | None:
        """Return the least total of each type, None without an answer.

        All Tweets have the same totals, apart from what is on its way.
        """
        question = {
            "tweet_ids": [str(tweet_id) for tweet_id in IDS],
            "engagement_types": list(TYPES),
            "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
        }
        headers = {"Authorization": f"Bearer {self._demo.bearer_token}"}
        answer = _post(f"{url}/insights/engagement/totals", json=question, headers=headers)
        if answer is None:
            return None
        rows = answer["g"].values()
        return {type_: min(int(row[type_]) for row in rows) for type_ in TYPES}


def _post(url: str, **options: Any) -> Any:
    """Return the JSON of the answer, None if there is none but an error of the server."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, timeout=ANSWER_S, **options)
    except requests.RequestException:
        return None
    assert answer.status_code == 200 or answer.status_code >= 500, answer.text
    return answer.json() if answer.status_code == 200 else None
