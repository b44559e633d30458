"""The supervisor of an intercepting sandbox: a forward proxy and two servers on one data folder.

One server speaks plain HTTP, as in a sandbox without interception. The other speaks HTTPS, with
a certificate for the built-in hosts of clients. Each server is a `processes.supervisor`.
The servers end when this process ends, even by `kill -9`. This process ends when a server ends.
"""

import argparse
import asyncio
import signal
import sys
from typing import Final

from openengagement.processes.readiness import readiness_thread, shared_options
from openengagement.sandbox.forward_proxy import LOOPBACK, ForwardProxy

# Longer than `processes.supervisor` waits for its workers and its counting process.
_STOP_TIMEOUT_S: Final = 20


def main() -> None:
    """Run until a signal. The environment names the folder and the settings."""
    parser = shared_options()
    parser.add_argument("--https-port", type=int, required=True)
    parser.add_argument("--intercept-port", type=int, required=True)
    sys.exit(asyncio.run(_supervise(parser.parse_args())))


async def _supervise(options: argparse.Namespace) -> int:
    """Run the proxy and the servers; return the exit code, 0 after a signal."""
    signalled = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    proxy = ForwardProxy(options.https_port)
    try:
        listening = await proxy.listen(options.intercept_port)
    except OSError as error:  # the command found the port free a moment ago
        print(f"error: {error.strerror}", file=sys.stderr)
        return 1
    certificate = ("--tls-cert", str(options.tls_cert), "--tls-key", str(options.tls_key))
    servers = [
        await _start_server("--port", str(options.port)),
        await _start_server("--port", str(options.https_port), *certificate),
    ]
    ports = (options.port, options.https_port, options.intercept_port)
    readiness_thread([(LOOPBACK, port) for port in ports], options).start()
    ends = [asyncio.create_task(server.wait()) for server in servers]
    stop = asyncio.create_task(signalled.wait())
    await asyncio.wait([stop, *ends], return_when=asyncio.FIRST_COMPLETED)
    by_signal = signalled.is_set()
    if not by_signal:
        print("error: a server of the sandbox ended, so the sandbox stops", file=sys.stderr)
    listening.close()
    await asyncio.gather(*map(_stop_server, servers))  # open requests still use the proxy
    await proxy.close()
    stop.cancel()
    return 0 if by_signal else 1


async def _start_server(*arguments: str) -> asyncio.subprocess.Process:
    """Start a server whose stdin is a pipe from this process, so that both end together."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "openengagement.processes.supervisor", "--host", LOOPBACK, "--workers", "1"),
        *(*arguments, "--end-with-input"),
        stdin=asyncio.subprocess.PIPE,
    )


async def _stop_server(server: asyncio.subprocess.Process) -> None:
    """Give a server time to finish its open requests, then kill it."""
    if server.returncode is None:
        server.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await server.wait()
    except TimeoutError:
        server.kill()
        await server.wait()


if __name__ == "__main__":
    main()
