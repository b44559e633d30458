"""A decoder that fails in the ways that a file lists, one for each body, and then decodes.

FAILING_DECODER names the file. Each line is an action: `signal 9`, `exit 3`, `raise`, `half` (of
an answer), `cut 500` (send so many bytes of the answer, then die), `spin` (use CPU time for ever)
or `end-server`.
"""

import io
import os
import signal
from pathlib import Path

from openengagement.ingest.formats import decoder_process
from openengagement.ingest.formats.column_decoder import MEMORY_MAX_BYTES, decode_into
from openengagement.ingest.formats.decoder_process import serve


def decode(request, body, *, sink):
    orders = Path(os.environ["FAILING_DECODER"])
    action, _, rest = orders.read_text().partition("\n")
    orders.write_text(rest)
    match action.split():
        case ["signal", number]:
            os.kill(os.getpid(), int(number))
            decode_into(request, body, sink=sink)  # it is still there: the signal was ignored
        case ["end-server"]:
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        case ["exit", code]:
            os._exit(int(code))
        case ["raise"]:
            raise RuntimeError
        case ["cut", size]:
            answer = io.BytesIO()
            decode_into(request, body, sink=answer)
            sink.write(answer.getvalue()[: int(size)])
            sink.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        case ["spin"]:
            decoder_process._CPU_MAX_S = 0
            decoder_process.limit_cpu_time()
            while True:
                pass
        case ["half"]:
            sink.write(b"\0\0\0")
        case _:
            decode_into(request, body, sink=sink)


if __name__ == "__main__":
    serve(decode, memory_max_bytes=MEMORY_MAX_BYTES)
