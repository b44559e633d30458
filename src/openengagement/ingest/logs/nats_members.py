"""Divide the sources of a stream among its consumers, which announce themselves to each other.

Everybody computes the same division from the members that it hears. If members disagree for a
moment, two of them may read a source: the store accepts the counts of one of them.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg

EVERY_S: Final = 1.0
_SILENT_S: Final = 4.0  # after which a member counts as dead
_ANSWER_S: Final = 0.2
_HELLO: Final = b"+"  # asks all others to announce themselves at once
_HERE: Final = b"="
_BYE: Final = b"-"


class Members:
    """The consumers of a group that were heard lately, with this one."""

    def __init__(self, client: Client, group: str) -> None:
        self._client = client
        self._subject = f"openengagement.consumers.{group}"
        self._me = uuid.uuid4().hex
        self._heard_s: dict[str, float] = {}
        self._announced_s = 0.0

    async def join(self) -> None:
        """Greet the others, and wait for their answers."""
        await self._client.subscribe(self._subject, cb=self._hear)
        await self._announce(_HELLO)
        await asyncio.sleep(_ANSWER_S)

    async def announce(self) -> None:
        """Tell the others that this consumer works, if it is time to do so."""
        if time.monotonic() - self._announced_s > EVERY_S:
            await self._announce(_HERE)

    async def leave(self) -> None:
        """Tell the others that this consumer has ended."""
        await self._announce(_BYE)

    def mine(self, sources: Sequence[str]) -> list[str]:
        """Return the sources that this consumer should read."""
        oldest_s = time.monotonic() - _SILENT_S
        self._heard_s = {name: at_s for name, at_s in self._heard_s.items() if at_s > oldest_s}
        members = sorted({self._me, *self._heard_s})
        first = members.index(self._me)
        return [source for index, source in enumerate(sources) if index % len(members) == first]

    async def _announce(self, what: bytes) -> None:
        self._announced_s = time.monotonic()
        await self._client.publish(self._subject, what + self._me.encode())

    async def _hear(self, message: Msg) -> None:
        what, name = message.data[:1], message.data[1:].decode("ascii", "replace")
        if name == self._me or len(name) != len(self._me):
            return
        if what == _BYE:
            self._heard_s.pop(name, None)
            return
        self._heard_s[name] = time.monotonic()
        if what == _HELLO:
            await self._announce(_HERE)
