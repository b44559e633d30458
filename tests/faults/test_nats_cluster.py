"""Three servers of NATS: the leader of the stream is killed, and both ends go on."""

import pytest

from faults.sending import Senders, run_faults
from support.consuming import start_consumer
from support.nats_cluster import NatsCluster
from support.server_process import ServerFolder
from support.waiting import wait_for

pytestmark = pytest.mark.heavy


@pytest.fixture
def cluster():
    folder = ServerFolder("nats-cluster-")
    try:
        running = NatsCluster(folder)
        running.add_stream("EVENTS", ["e.in"])
        yield running
    finally:
        folder.remove()


def test_the_leader_is_killed(crashing, cluster):
    url = cluster.url("EVENTS")
    crashing.settings = {"intake": "log", "intake_log": url}
    crashing.start()
    consumer = start_consumer(crashing.data, url)
    wait_for(lambda: "consumer_started" in consumer.said(), reason=consumer.said)
    senders = Senders(crashing)

    def kill_leader():
        leader = wait_for(lambda: cluster.leader("EVENTS"), pause_s=0.2, reason="a leader")
        leader.kill()
        accepted = senders.accepted
        while senders.accepted == accepted:  # by the two that are left
            senders.producers.patience()
        leader.start()

    try:
        run_faults(senders, [kill_leader] * 3)
        senders.events.wait_until_counted(crashing.data, consumer.said)
    finally:
        consumer.kill()
