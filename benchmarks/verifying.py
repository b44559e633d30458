"""CPU of verifying a signed request in process: warm credentials, lookups and nonce included."""

import os
import time

import signing
from measure import Spread, cores
from product import HOST
from world import World

from openengagement.auth.authenticate import Authenticator
from openengagement.auth.lookup import CredentialLookup
from openengagement.clock import SystemClock
from openengagement.data_folder import open_data_folder
from openengagement.http.message import Message
from openengagement.limits.opening import open_limits
from openengagement.settings import Settings

REQUESTS = 2000
PORT = 8080
PATH = "/insights/engagement/totals"


def signed_request(world: World, rounds: int) -> dict[str, Spread]:
    """`authenticate` (signature, credentials), `enforce_limits` (nonce, window, one commit)."""
    settings, clock = Settings(), SystemClock()
    parts = open_data_folder(world.data, settings, clock=clock)
    limits = open_limits(world.data)
    lookup = CredentialLookup(parts.registry, parts.keyring)
    authenticator = Authenticator(
        lookup, limits, settings=settings, note_used=lambda _: None, now_s=clock.now_s
    )
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})
    verified, admitted = [], []
    for _ in range(rounds + 1):  # the first round warms
        messages = [message(world) for _ in range(REQUESTS)]
        began = time.process_time()
        callers = [authenticator.authenticate(each) for each in messages]
        between = time.process_time()
        for caller in callers:
            authenticator.enforce_limits(caller)
        ended = time.process_time()
        verified.append((between - began) / REQUESTS * 1e6)
        admitted.append((ended - between) / REQUESTS * 1e6)
    os.sched_setaffinity(0, allowed)
    limits.close()
    parts.close()
    both = [sum(pair) for pair in zip(verified, admitted, strict=True)]
    return {
        "cpu_us": Spread.of(both[1:]),
        "authenticate_us": Spread.of(verified[1:]),
        "admit_us": Spread.of(admitted[1:]),
    }


def message(world: World) -> Message:
    return Message(
        method="POST",
        scheme="http",
        host=f"{HOST}:{PORT}",
        path=PATH,
        query="",
        authorization=(signing.authorization(world.keys, PORT, PATH),),
        content_type="application/json",
        body=b"{}",
    )
