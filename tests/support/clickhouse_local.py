"""Run `clickhouse-local` from chDB's library: clickhouse_local.py LIBRARY [ARGUMENT...].

The call returns when the query of the arguments ends. A process can make one such call.

With `--interactive`, and a terminal as its input, `clickhouse-local` logs exceptions of threads.
Otherwise they end the process, for example when a client has reset its connection.
"""

import ctypes
import os
import sys


def main() -> None:
    """Call the library."""
    _, terminal = os.openpty()
    os.dup2(terminal, sys.stdin.fileno())
    library = ctypes.CDLL(sys.argv[1])
    library.query_stable_v2.restype = ctypes.c_void_p
    arguments = [b"clickhouse", b"--interactive", *(argument.encode() for argument in sys.argv[2:])]
    library.query_stable_v2(len(arguments), (ctypes.c_char_p * len(arguments))(*arguments))


if __name__ == "__main__":
    main()
