"""Run the whole service, `serve.py SETTINGS.json`: PostgreSQL, filled, and uvicorn in front."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import postgresql_server  # noqa: E402 - it lies one folder up
from fill import fill  # noqa: E402
from sqlalchemy.engine import URL  # noqa: E402

WORKERS = 2


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with postgresql_server.running() as server:
        url = URL.create(
            "postgresql+asyncpg",
            username=server.user,
            database="postgres",
            query={"host": str(server.socket)},
        )
        files = {name: Path(given[name]) for name in ("tweets", "events")}
        fill(url, **files, token=given["token"])
        options = ["--loop=uvloop", "--http=httptools", "--no-access-log", f"--workers={WORKERS}"]
        uvicorn = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app:app", f"--port={given['port']}", *options],
            cwd=HERE,
            env=os.environ | {"DATABASE_URL": url.render_as_string(hide_password=False)},
        )
        try:
            uvicorn.wait()
        finally:
            uvicorn.terminate()
            uvicorn.wait()


if __name__ == "__main__":
    main()
