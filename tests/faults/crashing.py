"""A real server whose processes are all killed at once, and restarted."""

import os
import shutil
import signal
import subprocess
import threading
import time
from copy import copy
from pathlib import Path

import requests
from requests_oauthlib import OAuth1

from support.cli import EXECUTABLE, call_command, server_environment, start_server
from support.ports import HOST, free_port, is_free
from support.waiting import PATIENCE_S, wait_for

OWNER_ID = 1
PER_MINUTE = "10000000"
COUNTING = b"openengagement.processes.counting_process"
FORMS = {"ndjson": "application/x-ndjson", "json": "application/json"}


def open_session():
    """Return a session that ignores the proxy settings of this machine."""
    session = requests.Session()
    session.trust_env = False
    return session


def read_proc(path):
    """Read a file of a process or thread. It is empty if that has ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


class Crashing:
    """A server of two workers in its own session, so that one signal reaches all processes."""

    def __init__(self, data, *, workers=2):
        self.data = data
        self.workers = workers
        self.settings = {}  # by their names in the settings table
        self.prefix = ()  # of the command that starts the server, which then runs as a whole
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.process = None
        self.app = None
        self.platform_key = self.command("platform-key", "issue", "faults")["platform_key"]
        self._log = data.parent / "server.log"

    def command(self, *arguments):
        """Run a command on the folder, in this process."""
        return call_command(self.data, *arguments)

    def make_app(self):
        """Add an account that owns all Tweets of the test, and its enabled app."""
        self.command("account", "add", "owner", "--id", str(OWNER_ID))
        self.app = self.command("app", "add", "faults", "--owner", "owner")
        self.command("app", "enable", self.app["app_id"], "--per-minute", PER_MINUTE)
        self.app |= self.command("token", "issue", self.app["app_id"])

    def on_copy(self, data):
        """Return a server, not started yet, on a copy of this one's folder."""
        shutil.copytree(self.data, data)
        made = copy(self)
        made.data, made._log = data, data.parent / "server.log"
        made.port = free_port()
        made.url = f"http://{HOST}:{made.port}"
        made.process = None
        return made

    def start(self):
        """Start the server and wait until it answers."""
        options = ("--port", self.port, "--workers", self.workers)
        if self.prefix:
            self.process = self._start_behind_prefix(options)
        else:
            self.process = start_server(
                self.data, *options, log=self._log, settings=self.settings, new_session=True
            )
        wait_for(self._has_started, pause_s=0.02, reason=lambda: self.log()[-2000:])

    def _start_behind_prefix(self, options):
        command = [*self.prefix, EXECUTABLE, "--data", self.data, "serve", *map(str, options)]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=server_environment(self.settings),
                start_new_session=True,
            )

    def _has_started(self):
        assert self.process.poll() is None, self.log()[-2000:]
        try:
            return requests.get(f"{self.url}/health", timeout=PATIENCE_S).status_code == 200
        except requests.RequestException:
            return False

    def kill(self):
        """Kill all processes at once, like a power failure."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: is_free(self.port))  # the workers are nobody's children now

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def workers_running(self):
        """The process ids of the workers."""
        others = (b"resource_tracker", COUNTING)
        return [
            child
            for child, command in self._children()
            if command and not any(name in command for name in others)  # a zombie has none
        ]

    def counting_running(self):
        """The process ids of the counting process."""
        return [child for child, command in self._children() if COUNTING in command]

    def _children(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [int(child) for task in tasks for child in read_proc(task).split()]
        return [(child, read_proc(Path(f"/proc/{child}/cmdline"))) for child in children]

    def log(self):
        return self._log.read_text(errors="replace")

    def send(self, session, kind, body, *, form="ndjson", key=None):
        """Send a batch to the platform API; return the response, or None if there was none."""
        headers = {"Authorization": f"Bearer {self.platform_key}", "Content-Type": FORMS[form]}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            return session.post(
                f"{self.url}/platform/v1/{kind}", data=body, headers=headers, timeout=PATIENCE_S
            )
        except requests.RequestException:
            return None

    def ask(self, endpoint, body):
        """Send a request as the owner, which must succeed."""
        answer = self.request(endpoint, body)
        assert answer.status_code == 200, f"{answer.status_code} {answer.text[:500]}"
        return answer.json()

    def request(self, endpoint, body):
        """Send a request as the owner; return the response."""
        app = self.app
        with open_session() as session:
            return session.post(
                f"{self.url}/insights/engagement/{endpoint}",
                json=body,
                auth=OAuth1(
                    app["consumer_key"],
                    app["consumer_secret"],
                    app["access_token"],
                    app["access_token_secret"],
                ),
                timeout=PATIENCE_S,
            )


class Producers:
    """Threads that call `produce(name, number)` repeatedly until they are stopped.

    `produce` calls `patience` between attempts, which ends the thread if the test has failed.
    """

    def __init__(self, count, produce):
        self.stopping = threading.Event()
        self.failed = False
        self.errors = []
        self._threads = [
            threading.Thread(target=self._run, args=(name, produce)) for name in range(count)
        ]

    def _run(self, name, produce):
        number = 0
        while not self.stopping.is_set():
            try:
                produce(name, number)
            except Exception as error:
                self.errors.append(error)
                return
            number += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self.failed = kind is not None
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        assert self.failed or self.errors == []

    def patience(self):
        """Sleep briefly between two attempts; raise if the test has failed."""
        if self.failed:
            raise RuntimeError("the test has failed")
        time.sleep(0.02)
