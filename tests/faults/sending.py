"""Send batches to a server whose parts are killed, each until it is accepted."""

import random
import threading

from faults.crashing import Producers, open_session
from support.consuming import Events

ACCEPTED = 202


class Senders:
    """Send batches until each is accepted, and some of them again afterwards."""

    def __init__(self, server):
        self._server = server
        self._lock = threading.Lock()
        self._chance = random.Random(5)
        self.events = Events(11)
        self.statuses = set()
        self.accepted = 0
        self.producers = Producers(3, self._produce)

    def _produce(self, name, number):
        with self._lock:
            body = self.events.make(20)
            repeats = self._chance.random() < 0.3
        key = f"{name}-{number}"
        with open_session() as session:
            for _ in range(1 + repeats):
                while not self._is_accepted(session, body, key):
                    self.producers.patience()
        self.accepted += 1

    def _is_accepted(self, session, body, key):
        answer = self._server.send(session, "events", body, key=key)
        self.statuses.add(answer.status_code if answer is not None else None)
        return answer is not None and answer.status_code == ACCEPTED


def run_faults(senders, faults):
    """Make one fault after the other, each after a batch was accepted."""
    with senders.producers:
        for fault in faults:
            accepted = senders.accepted
            while senders.accepted < accepted + 5:
                senders.producers.patience()
                assert senders.producers.errors == []
            fault()
