"""Options that the two supervisors share, and the report that their ports answer."""

import argparse
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

POLL_S = 0.05
# A port accepts connections before anything serves them. Every server of ours reacts to this
# request; one that does not speak HTTP closes the connection.
_PROBE = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def shared_options() -> argparse.ArgumentParser:
    """Return a parser with the options that both supervisors take."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--ready-text", type=Path, help="file to print once all ports answer")
    parser.add_argument("--started-s", type=float, help="monotonic time at which the command began")
    return parser


def readiness_thread(
    addresses: Sequence[tuple[str, int]], options: argparse.Namespace
) -> threading.Thread:
    """Make a thread that prints `--ready-text` once every (host, port) answers.

    With `--started-s` it also prints for a person how long the start took.
    """
    return threading.Thread(target=_report, args=(addresses, options), daemon=True)


def _report(addresses: Sequence[tuple[str, int]], options: argparse.Namespace) -> None:
    for address in addresses:
        while not _answers(address):
            time.sleep(POLL_S)
    print(options.ready_text.read_text(), flush=True)
    if options.started_s is not None:
        elapsed_s = time.monotonic() - options.started_s
        print(f"Ready after {elapsed_s:.1f} s. Stop with Ctrl-C.", flush=True)


def _answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address) as connection:
            connection.sendall(_PROBE)
            connection.recv(1)
    except ConnectionResetError:
        return True
    except OSError:
        return False
    return True
