"""Limits on the number of slow pages that are under way at once."""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from openengagement.portal.rendering import Refusal

_IPV6_NETWORK_BITS: Final = 64  # what one subscriber usually has


class Busy(Exception):
    """Too many pages of this kind are under way. `refusal` says so to the person."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.heading)
        self.refusal = refusal


class ConcurrencyLimit:
    """Bounds the pages of one kind that are under way, waiting ones included.

    At most `most` in total and `most_per_network` for one client network may be under way; further
    ones are refused. At most `running_max` of them run at the same time; the others wait.
    """

    def __init__(
        self,
        most: int,
        refusal: Refusal,
        *,
        most_per_network: int | None = None,
        running_max: int | None = None,
    ) -> None:
        self._most = most
        self._refusal = refusal
        self._most_per_network = most_per_network or most
        self._running = asyncio.Semaphore(running_max or most)
        self._under_way: Counter[str] = Counter()  # by client network

    @asynccontextmanager
    async def hold(self, network: str) -> AsyncIterator[None]:
        """Hold a place while a page is made.

        Raises:
            Busy: there is no place.
        """
        crowded = self._under_way.total() >= self._most
        if crowded or self._under_way[network] >= self._most_per_network:
            raise Busy(self._refusal)
        self._under_way[network] += 1
        try:
            async with self._running:
                yield
        finally:
            self._under_way[network] -= 1
            self._under_way += Counter()  # drops the networks that have nothing under way


def client_network(address: str) -> str:
    """Return the network that requests are counted by: an IPv4 address, or an IPv6 /64."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is None:
        return str(ipaddress.ip_network((known, _IPV6_NETWORK_BITS), strict=False))
    return str(getattr(known, "ipv4_mapped", None) or known)
