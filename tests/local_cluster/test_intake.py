"""Two API nodes with `--intake log`, one log and two consumers, on the stores of a cluster.

Batches come through both nodes, and some again through the other one, while a node and a consumer
are killed. Each batch counts once: the answers of both nodes are the sums of what was sent.
"""

import random
import threading
from collections import Counter

import pytest
import requests

from faults.crashing import Producers, open_session
from local_cluster.cluster import local_cluster
from local_cluster.load import ANSWER_S, IDS, register_tweets
from support.consuming import TYPES, Events
from support.waiting import wait_for

pytestmark = pytest.mark.cluster
ACCEPTED = 202
PUBLIC = ("replies", "favorites", "retweets")
SENDERS = 4
BATCH_EVENTS = 30


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(intake="log") as running:
        yield running


@pytest.fixture(scope="module")
def demo(cluster):
    return register_tweets(cluster)


class Senders:
    """Send each batch until a node has accepted it; if it fails, through the other node next."""

    def __init__(self, cluster, demo):
        self._urls = [node.url for node in cluster.api]
        self._key = demo.platform_key
        self._lock = threading.Lock()
        self._chance = random.Random(3)
        self.events = Events(7, tweets=len(IDS))
        self.accepted, self.statuses = Counter(), set()  # by node; of all answers
        self.repeats = 0
        self.producers = Producers(SENDERS, self._produce)

    def _produce(self, name, number):
        with self._lock:
            body = self.events.make(BATCH_EVENTS)
            repeated = self._chance.random() < 0.3
        node = self._send(body, key=f"{name}-{number}", node=(name + number) % 2)
        if repeated:
            self._send(body, key=f"{name}-{number}", node=1 - node)
        with self._lock:
            self.accepted[node] += 1
            self.repeats += repeated

    def _send(self, body, *, key, node):
        """Send a batch. Return the number of the node that accepted it."""
        while (status := self._post(self._urls[node], body, key=key)) != ACCEPTED:
            self.statuses.add(status)
            node = 1 - node
            self.producers.patience()
        return node

    def _post(self, url, body, *, key):
        headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": key}
        headers["Content-Type"] = "application/x-ndjson"
        try:
            with open_session() as session:
                answer = session.post(
                    f"{url}/platform/v1/events", data=body, headers=headers, timeout=ANSWER_S
                )
        except requests.RequestException:
            return None
        return answer.status_code

    def wait_for_more(self, *nodes):
        """Wait until each of these nodes has accepted more batches."""
        before = self.accepted.copy()

        def accepted():
            assert self.producers.errors == []
            return all(self.accepted[node] > before[node] + 10 for node in nodes)

        wait_for(accepted, pause_s=0.05, reason=lambda: f"{self.accepted} {self.statuses}")


def read(url, demo):
    """Return the totals of all Tweets that an app may see, None without an answer."""
    question = {
        "tweet_ids": [str(each) for each in IDS],
        "engagement_types": list(PUBLIC),
        "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
    }
    headers = {"Authorization": f"Bearer {demo.bearer_token}"}
    url = f"{url}/insights/engagement/totals"
    try:
        with open_session() as session:
            answer = session.post(url, json=question, headers=headers, timeout=ANSWER_S)
    except requests.RequestException:
        return None
    if answer.status_code != 200:
        return None
    found = answer.json()["g"]
    return +Counter({(int(i), t): int(n) for i, row in found.items() for t, n in row.items()})


def wait_until_counted(cluster, demo, counts):
    """Wait until each node answers with these sums. It must never answer with more."""
    shown = Counter({key: count for key, count in counts.items() if key[1] in PUBLIC})

    def counted(url):
        found = read(url, demo)
        assert not (found or Counter()) - shown, "counted twice"
        return found == shown

    for node in cluster.api:
        wait_for(lambda url=node.url: counted(url), pause_s=0.1, reason=f"{node.url} counted")
    with cluster.opened() as folder:
        sums = folder.stores.counters.read_totals(list(IDS), TYPES).tolist()
    pairs = zip(IDS, sums, strict=True)
    stored = {(id_, t): n for id_, row in pairs for t, n in zip(TYPES, row, strict=True) if n}
    assert stored == counts


def test_batches_through_two_nodes_count_once_although_parts_die(cluster, demo):
    senders = Senders(cluster, demo)
    with senders.producers:
        senders.wait_for_more(0, 1)
        cluster.api[0].kill()
        senders.wait_for_more(1)
        cluster.api[0].start()
        senders.wait_for_more(0, 1)
        cluster.consumers[0].kill()
        senders.wait_for_more(0, 1)
        cluster.consumers[0].start()
        senders.wait_for_more(0, 1)
    assert senders.repeats > 5
    assert senders.statuses <= {503, None}
    wait_until_counted(cluster, demo, senders.events.counts)
