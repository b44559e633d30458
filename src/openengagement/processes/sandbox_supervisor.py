"""The process that keeps an intercepting sandbox: a proxy, and two servers on one data folder.

One server speaks plain HTTP, as without interception; the other HTTPS, with the certificate that
clients of the hard-coded hosts are shown. Each is a `processes.supervisor`. All end together: the
servers when this process ends, in whatever way, and this process when a server ends.
"""

import argparse
import asyncio
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from openengagement.processes.readiness import announce
from openengagement.sandbox.intercept import LOOPBACK, InterceptProxy

_KILLED_AFTER_S: Final = 20  # longer than `processes.supervisor` gives its workers and what counts


def main() -> None:
    """Run until a signal; folder and settings are in the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--https-port", type=int, required=True)
    parser.add_argument("--intercept-port", type=int, required=True)
    parser.add_argument("--tls-cert", required=True)
    parser.add_argument("--tls-key", required=True)
    parser.add_argument("--announce", type=Path, help="a text to print once all ports answer")
    parser.add_argument("--since", type=float, help="when, on the monotonic clock, it all began")
    sys.exit(asyncio.run(_keep(parser.parse_args())))


async def _keep(options: argparse.Namespace) -> int:
    """Keep proxy and servers; the exit code: 0 when they ended because they were told to."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    proxy = InterceptProxy(options.https_port)
    try:
        listening = await proxy.listen(options.intercept_port)
    except OSError as error:  # it was free a moment ago
        print(f"error: {error.strerror}", file=sys.stderr)
        return 1
    certificate = ["--tls-cert", options.tls_cert, "--tls-key", options.tls_key]
    servers = [
        await _launch("--port", options.port),
        await _launch("--port", str(options.https_port), *certificate),
    ]
    _announce(options)
    ends = [asyncio.create_task(server.wait()) for server in servers]
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([told, *ends], return_when=asyncio.FIRST_COMPLETED)
    was_told = stopping.is_set()
    if not was_told:
        print("error: a server of the sandbox ended by itself; so does the rest", file=sys.stderr)
    listening.close()
    await asyncio.gather(*map(_end, servers))  # what is under way still passes through the proxy
    await proxy.close()
    told.cancel()
    return 0 if was_told else 1


async def _launch(*arguments: str) -> asyncio.subprocess.Process:
    """Start a server that ends with this process: when the pipe that is its input closes."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "openengagement.processes.supervisor", "--host", LOOPBACK, "--workers", "1"),
        *(*arguments, "--end-with-input"),
        stdin=asyncio.subprocess.PIPE,
    )


def _announce(options: argparse.Namespace) -> None:
    ports = (int(options.port), options.https_port, options.intercept_port)
    threading.Thread(
        target=announce,
        args=([(LOOPBACK, port) for port in ports], options.announce),
        kwargs={"since": options.since},
        daemon=True,
    ).start()


async def _end(server: asyncio.subprocess.Process) -> None:
    """Let a server finish what is under way, for a while."""
    if server.returncode is None:
        server.terminate()
    try:
        async with asyncio.timeout(_KILLED_AFTER_S):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


if __name__ == "__main__":
    main()
