"""Three servers of NATS: the leader of the stream is killed, and both ends go on."""

import pytest

from faults.sending import Senders, run_faults
from support.consuming import start_consumer
from support.nats_cluster import NatsCluster
from support.waiting import wait_for

pytestmark = pytest.mark.heavy


@pytest.fixture
def cluster(tmp_path):
    running = NatsCluster(tmp_path)
    yield running
    running.stop()


def test_the_leader_is_killed(crashing, cluster):
    crashing.settings = {"intake": "log", "intake_log": cluster.url}
    crashing.start()
    consumer = start_consumer(crashing.data, cluster.url)
    wait_for(lambda: "consumer_started" in consumer.said(), reason=consumer.said)
    senders = Senders(crashing)

    def kill_leader():
        leader = cluster.leader()
        leader.stop()
        accepted = senders.accepted
        while senders.accepted == accepted:  # by the two that are left
            senders.producers.patience()
        leader.start()

    try:
        run_faults(senders, [kill_leader] * 3)
        senders.events.wait_until_counted(crashing.data, consumer.said)
    finally:
        consumer.kill()
