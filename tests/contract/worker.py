"""Another process on the same store, driven by lines of JSON: one command in, one answer out."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.backends import BACKENDS
from contract.deltas import make_batch


def main():
    backend, folder = sys.argv[1:]
    store = BACKENDS[backend](folder).open()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        if name == "die":
            os._exit(9)
        answer = {"apply": apply, "totals": totals, "count": count}[name](store, *arguments)
        print(json.dumps(answer), flush=True)
    store.close()


def apply(store, key, rows):
    """One batch; whether it was a repeat."""
    batch = make_batch(rows, key=key.encode() if key else None)
    return store.apply_batches([batch])[0].duplicate


def totals(store, ids, types):
    return store.read_totals(ids, types).tolist()


def count(store, times, key, rows):
    """The same rows again and again, each time as a batch of its own; how many were new."""
    new = 0
    for at in range(times):
        mine = make_batch(rows, key=f"{key} {at}".encode())
        shared = make_batch(rows, key=f"shared {at}".encode())
        new += sum(not answer.duplicate for answer in store.apply_batches([mine, shared]))
    return new


if __name__ == "__main__":
    main()
