"""Limits on the number of slow pages that are under way at once."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from openengagement.language.current import gettext_noop
from openengagement.portal.rendering import Refusal

# What one IPv6 subscriber has: usually a /64, often a /56, sometimes a /48.
_IPV6_NETWORK_BITS: Final = (64, 56, 48)
SIGN_IN_BUSY: Final = Refusal(
    503,
    gettext_noop("Too many people are signing in"),
    gettext_noop("Wait a few seconds and try again."),
)


class Busy(Exception):
    """Too many pages of this kind are under way. `refusal` says so to the person."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.heading)
        self.refusal = refusal


class ConcurrencyLimit:
    """Bounds the pages of one kind that are under way, waiting ones included.

    At most `most` in total may be under way; further ones are refused. `most_per_network` has the
    limits for each network of a client, in the order of `client_networks`. At most `running_max`
    run at the same time; the others wait.
    """

    def __init__(
        self,
        most: int,
        refusal: Refusal,
        *,
        most_per_network: Sequence[int] = (),
        running_max: int | None = None,
    ) -> None:
        self._most = most
        self._refusal = refusal
        self._most_per_network = most_per_network
        self._running = asyncio.Semaphore(running_max or most)
        self._under_way = 0
        self._by_network: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, networks: Sequence[str]) -> AsyncIterator[None]:
        """Hold a place for a client of these networks while a page is made.

        Raises:
            Busy: there is no place.
        """
        limits = zip(networks, self._most_per_network, strict=False)
        crowded = any(self._by_network[network] >= most for network, most in limits)
        if crowded or self._under_way >= self._most:
            raise Busy(self._refusal)
        self._under_way += 1
        self._by_network.update(networks)
        try:
            async with self._running:
                yield
        finally:
            self._under_way -= 1
            self._by_network.subtract(networks)
            self._by_network += Counter()  # drops the networks that have nothing under way


def client_networks(address: str) -> tuple[str, ...]:
    """Return the networks that requests are counted by, the narrowest first.

    They are an IPv4 address, or the /64, /56 and /48 of an IPv6 address.
    """
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return (address,)
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        found = [ipaddress.ip_network((known, bits), strict=False) for bits in _IPV6_NETWORK_BITS]
        return tuple(map(str, found))
    return (str(getattr(known, "ipv4_mapped", None) or known),)
