"""A TCP proxy that spreads connections over several servers, in turns."""

import asyncio
import itertools
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress

from openengagement.sandbox.certificate_authority import Certificates
from support.ports import HOST


class Balancer:
    """Listens on a port until it is closed."""

    def __init__(self, port: int, targets: Sequence[int]) -> None:
        self._targets = itertools.cycle(targets)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connections: set[asyncio.Task[None]] = set()
        self._server = self._call(self._listen(port))

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, HOST, port)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a server."""
        return await asyncio.open_connection(HOST, next(self._targets))

    async def _greet(self, writer: asyncio.StreamWriter) -> None:
        """Do what comes before the content of a new connection."""

    async def _permission(self) -> None:
        """Return when data may pass."""

    def close(self) -> None:
        """Close the port and all connections."""
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._greet(writer)
            await self._permission()
            source, target = await self._connect()
            sending = asyncio.create_task(self._pump(reader, target))
            try:
                # When the server closes, nothing can be sent any more.
                await self._pump(source, writer)
            finally:
                sending.cancel()
                target.close()
        except OSError:
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            await _end(writer)
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy until the source ends, and then tell the target."""
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._permission()
                writer.write(data)
                await writer.drain()
            await self._permission()
            if writer.can_write_eof():  # TLS has no half of a connection
                writer.write_eof()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close a connection after everything was sent, or at once if the task is cancelled.

    TLS waits for the other side to say that it closes, too.
    """
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass
    except asyncio.CancelledError:
        writer.transport.abort()


class TlsProxy(Balancer):
    """Speaks TLS, and passes the content on to a server that does not."""

    def __init__(self, port: int, target: int, certificates: Certificates) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.leaf, certificates.leaf_key)
        super().__init__(port, [target])

    async def _greet(self, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(self._context)
