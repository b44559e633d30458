"""Send a message to a webhook: one POST over a connection of its own.

No redirect is followed, no proxy is used, and nothing of the answer but its status is read. The
whole attempt has a deadline.
"""

import asyncio
import socket
from collections.abc import Collection, Iterable
from typing import Any, Final

import httpcore
import httpx

from openengagement.notifications.addresses import UnfitWebhook, check_webhook_url, is_allowed
from openengagement.notifications.message import Result
from openengagement.setting_kinds import Network

ATTEMPT_S: Final = 15.0  # resolve, connect, send, and wait for the status
_GONE: Final = 410


class AddressRefused(Exception):
    """The host has an address that webhooks may not call."""


class Poster:
    """Sends messages to webhooks, which may call public addresses and those of `networks`."""

    def __init__(self, networks: Collection[Network]) -> None:
        self._networks = networks
        self._tls = httpx.create_ssl_context()

    async def post(self, url: str, body: bytes, *, headers: dict[str, str]) -> Result:
        """Make one attempt."""
        sent = {"host": httpx.URL(url).netloc.decode(), "content-type": "application/json"}
        sent |= {"content-length": str(len(body)), **headers}
        backend = _CheckingBackend(self._networks)
        pool = httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=backend)
        try:
            check_webhook_url(url, self._networks)  # the setting may have changed
            async with asyncio.timeout(ATTEMPT_S), pool:
                request = httpcore.Request("POST", url, headers=[*sent.items()], content=body)
                answer = await pool.handle_async_request(request)
                status = answer.status
                await answer.aclose()
        except TimeoutError:
            return Result("timeout")
        except (AddressRefused, UnfitWebhook):
            return Result("address refused")
        except socket.gaierror:
            return Result("unknown host")
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Result(_name_of(error))
        is_delivered = httpx.codes.is_success(status)
        return Result(str(status), is_delivered=is_delivered, is_final=status == _GONE)


class _CheckingBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that it has resolved and checked itself."""

    def __init__(self, networks: Collection[Network]) -> None:
        self._networks = networks
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]).partition("%")[0] for each in found]
        if not all(is_allowed(address, self._networks) for address in addresses):
            raise AddressRefused
        failure: Exception = OSError("no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as error:  # such as IPv6 without a route
                failure = error
        raise failure


def _name_of(error: Exception) -> str:
    if isinstance(error, httpcore.ConnectError) and "certificate" in str(error).lower():
        return "certificate refused"
    return type(error).__name__
