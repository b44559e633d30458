"""Limits on slow pages: in total, and for networks of every width."""

import asyncio
from contextlib import AsyncExitStack

from openengagement.portal.concurrency import (
    SIGN_IN_BUSY,
    Busy,
    ConcurrencyLimit,
    client_networks,
)
from support.cases import cases


def places(most, per_network, addresses):
    """How many pages for clients at these addresses may be under way at once."""

    async def count():
        limit = ConcurrencyLimit(most, SIGN_IN_BUSY, most_per_network=per_network)
        held = 0
        async with AsyncExitStack() as stack:
            for address in addresses:
                try:
                    await stack.enter_async_context(limit.hold(client_networks(address)))
                except Busy:
                    continue
                held += 1
        # Everything is free again.
        async with limit.hold(client_networks(addresses[0])):
            return held

    return asyncio.run(count())


@cases(
    ("addresses", "held"),
    [
        (["192.0.2.1"] * 40, 4),
        (["2001:db8::1"] * 40, 4),
        ([f"2001:db8::{number:x}" for number in range(40)], 4),  # one /64
        ([f"2001:db8:0:{number:x}::1" for number in range(40)], 8),  # one /56
        ([f"2001:db8:0:{number:x}00::1" for number in range(40)], 16),  # one /48
        ([f"2001:db8:{number:x}::1" for number in range(40)], 32),
        ([f"192.0.2.{number}" for number in range(40)], 32),
        ([f"::ffff:192.0.2.{number % 2}" for number in range(40)], 8),
    ],
)
def test_a_network_holds_a_share_of_the_places(addresses, held):
    assert places(32, (4, 8, 16), addresses) == held


def test_without_shares_one_network_may_hold_all_places():
    assert places(32, (), ["192.0.2.1"] * 40) == 32


@cases(
    ("address", "networks"),
    [
        ("192.0.2.1", ("192.0.2.1",)),
        ("::ffff:192.0.2.1", ("192.0.2.1",)),
        ("2001:db8:1:2ff::9", ("2001:db8:1:2ff::/64", "2001:db8:1:200::/56", "2001:db8:1::/48")),
        ("unknown", ("unknown",)),
        ("", ("",)),
    ],
)
def test_the_networks_of_a_client(address, networks):
    assert client_networks(address) == networks
