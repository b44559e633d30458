"""Another process on the same store. It reads commands as lines of JSON and prints the answers."""

import json
import os
import sys
from itertools import count as count_from
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.backends import BACKENDS
from contract.deltas import make_batch
from openengagement.stores.contract import Position


def main():
    backend, folder = sys.argv[1:]
    store = BACKENDS[backend](folder).open()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name == "die":
            os._exit(9)
        answer = COMMANDS[name](store, *arguments)
        print(json.dumps(answer), flush=True)
    store.close()


def apply(store, key, rows):
    """Apply a batch. Return whether it was a repeat."""
    batch = make_batch(rows, key=key.encode() if key else None)
    return store.apply_batches([batch])[0].duplicate


def totals(store, ids, types):
    return store.read_totals(ids, types).tolist()


def tweets(store, *ids):
    return sorted(store.read_tweets(ids))


def count(store, times, key, rows, first=0):
    """Apply the same rows in many batches. Return how many batches were new."""
    new = 0
    for index in range(first, first + times):
        mine = make_batch(rows, key=f"{key} {index}".encode())
        shared = make_batch(rows, key=f"shared {index}".encode())
        new += sum(not answer.duplicate for answer in store.apply_batches([mine, shared]))
    return new


def position(store, source):
    offset = store.read_position(source)
    return None if offset is None else offset.decode()


def consume(store, source):
    """Consume messages that add one each, from the last position on, until killed."""
    after = store.read_position(source)
    for offset in count_from(int(after or 0) + 1):
        reached = Position(source, b"%d" % offset, after)
        after = reached.offset
        store.apply_batches([make_batch([(5, 10, {"replies": 1})], position=reached)])


COMMANDS = {
    "apply": apply,
    "totals": totals,
    "tweets": tweets,
    "count": count,
    "position": position,
    "consume": consume,
}

if __name__ == "__main__":
    main()
