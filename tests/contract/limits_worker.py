"""Another process on the same limits, driven by lines of JSON: one command in, one answer out."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.limits_backends import BACKENDS
from openengagement.limits.contract import Nonce

T = 1_795_342_500


def main():
    backend, folder = sys.argv[1:]
    limits = BACKENDS[backend](folder)
    commands = {"remember": remember, "count": count, "race": race}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(commands[name](limits, *arguments)), flush=True)
    limits.close()


def remember(limits, digest):
    return limits.remember_nonce(Nonce(T, digest.encode()))


def count(limits, subject):
    return limits.count(subject.encode(), {60: 10}, now_s=T)[0].used


def race(limits, times):
    """Use the same nonces as every other process; return the counts of those that were new."""
    windows = [
        limits.remember_nonce_and_count(Nonce(T, b"race %d" % n), b"race", limits={60: 9}, now_s=T)
        for n in range(times)
    ]
    return [found[0].used for found in windows if found]


if __name__ == "__main__":
    main()
