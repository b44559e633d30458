"""The real server in a process of its own, reached over HTTP and its command line only."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from requests_oauthlib import OAuth1

from oracle.asking import Ask
from oracle.bodies import CONTENT_TYPES
from oracle.generator import OWNER_IDS, Batch

EXECUTABLE = Path(sys.executable).with_name("openengagement")
STARTS_IN_S = 60
ANSWERS_IN_S = 60
PER_MINUTE = "10000000"


def screen_name(account_id: int) -> str:
    """Name an account."""
    return f"u{account_id}"


def free_port() -> int:
    """Find a port nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Server:
    """One server with its own data folder, an enabled app for each owner, and one never enabled."""

    def __init__(self, *, workers: int = 1) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="oracle-")
        self.workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.apps: dict[int, dict[str, str]] = {}
        self.disabled: dict[str, str] = {}
        self.platform_key = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = Path(self.folder.name, "server.log")
        self.local = threading.local()
        self.sessions: list[requests.Session] = []

    def __enter__(self) -> Self:
        """Start, wait for the first answer, and make accounts and apps."""
        self.platform_key = self.run("platform-key", "issue", "oracle")["platform_key"]
        try:
            self.start()
            self.make_apps()
        except BaseException:
            self.stop()
            raise
        return self

    def start(self) -> None:
        """Start serving, and wait until it does."""
        command = [*self.command(), "serve", "--port", str(self.port)]
        if self.workers != 1:
            command += ["--workers", str(self.workers)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment(), start_new_session=True
            )
        self.wait_until_it_answers()

    def kill_and_start_again(self) -> None:
        """Kill the server with all its workers, and start it on the same data."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server and remove its data."""
        self.stop()

    def stop(self) -> None:
        """End the process we started, gently first."""
        for session in self.sessions:
            session.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()

    # The command line.

    def environment(self) -> dict[str, str]:
        """Pass the environment on, without settings of the server and free to keep bytecode."""
        kept_back = ("OPENENGAGEMENT_", "PYTHONDONTWRITEBYTECODE")
        return {name: v for name, v in os.environ.items() if not name.startswith(kept_back)}

    def command(self) -> list[str]:
        """Begin every command with the executable and the data folder."""
        return [str(EXECUTABLE), "--data", str(Path(self.folder.name, "data"))]

    def run(self, *arguments: str) -> dict[str, str]:
        """Run one command on the data folder and read the object it prints."""
        command = [*self.command(), *arguments, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment()
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"{' '.join(arguments)}: {done.returncode}: {done.stderr or done.stdout}"
            )
        printed: dict[str, str] = json.loads(done.stdout)
        return printed

    def make_apps(self) -> None:
        """Register the owners and make their apps, two at a time."""
        owners = [{"id": str(one), "screen_name": screen_name(one)} for one in OWNER_IDS]
        answer = self.send("accounts", json.dumps(owners).encode(), "json")
        if not answer.ok or answer.json()["accepted"] != len(owners):
            raise RuntimeError(f"accounts: {answer.text}")
        with ThreadPoolExecutor(2) as pool:
            disabled = pool.submit(self.make_disabled_app)
            self.apps = dict(zip(OWNER_IDS, pool.map(self.make_app, OWNER_IDS), strict=True))
            self.disabled = disabled.result()

    def make_app(self, owner_id: int) -> dict[str, str]:
        """Make an enabled app with its owner's access token and a bearer token."""
        app = self.run("app", "add", f"app of {owner_id}", "--owner", screen_name(owner_id))
        self.run("app", "enable", app["app_id"], "--per-minute", PER_MINUTE)
        app.update(self.run("token", "issue", app["app_id"]))
        if owner_id == OWNER_IDS[0]:
            app["bearer"] = self.run("token", "bearer", app["app_id"])["access_token"]
        else:
            app["bearer"] = self.bearer_token(app)
        return app

    def make_disabled_app(self) -> dict[str, str]:
        """Make an app nobody enabled."""
        app = self.run("app", "add", "never enabled", "--owner", screen_name(OWNER_IDS[0]))
        app["bearer"] = self.bearer_token(app)
        return app

    def bearer_token(self, app: dict[str, str]) -> str:
        """Fetch a bearer token the way clients do."""
        answer = requests.post(
            self.url + "/oauth2/token",
            auth=(app["consumer_key"], app["consumer_secret"]),
            data={"grant_type": "client_credentials"},
            timeout=ANSWERS_IN_S,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    # HTTP.

    def wait_until_it_answers(self) -> None:
        """Ask without credentials until the refusal comes."""
        assert self.process is not None
        give_up = time.monotonic() + STARTS_IN_S
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                requests.post(self.url + "/insights/engagement/totals", timeout=ANSWERS_IN_S)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(
            "the server does not answer: " + self.log.read_text(errors="replace")[-2000:]
        )

    def session(self) -> requests.Session:
        """Keep one session a thread."""
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.trust_env = False
            self.sessions.append(self.local.session)
        session: requests.Session = self.local.session
        return session

    def send(
        self, what: str, body: bytes, form: str, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Send one body to the platform's side; a full queue is asked again."""
        all_headers = {
            "Authorization": f"Bearer {self.platform_key}",
            "Content-Type": CONTENT_TYPES[form],
            **(headers or {}),
        }
        url = f"{self.url}/platform/v1/{what}"
        for _ in range(20):
            answer = self.session().post(url, data=body, headers=all_headers, timeout=ANSWERS_IN_S)
            if answer.status_code != requests.codes.service_unavailable:
                return answer
            time.sleep(0.2)
        raise RuntimeError(f"{what}: the queue stayed full")

    def send_batch(self, batch: Batch) -> requests.Response:
        """Send one batch of events once."""
        headers = {}
        if batch.encoding is not None:
            headers["Content-Encoding"] = batch.encoding
        if batch.key is not None:
            headers["Idempotency-Key"] = batch.key
        return self.send(
            "events?atomic=true" if batch.atomic else "events", batch.body, batch.form, headers
        )

    def delete_tweet(self, tweet_id: int) -> requests.Response:
        """Delete one Tweet."""
        return self.session().delete(
            f"{self.url}/platform/v1/tweets/{tweet_id}",
            headers={"Authorization": f"Bearer {self.platform_key}"},
            timeout=ANSWERS_IN_S,
        )

    def ask(self, ask: Ask) -> requests.Response:
        """Ask one question, signed as it says."""
        raw, headers = ask.raw, dict(ask.headers)
        if headers.get("Content-Encoding") == "gzip":
            raw = gzip.compress(raw)
        auth = self.signer(ask, headers)
        url = f"{self.url}/insights/engagement/{ask.endpoint}"
        return self.session().post(url, data=raw, headers=headers, auth=auth, timeout=ANSWERS_IN_S)

    def signer(self, ask: Ask, headers: dict[str, str]) -> Any:
        """Put a bearer token into the headers, or make the signer of an OAuth 1.0a request."""
        app = self.apps[ask.owner_id]
        plain = {
            "no credentials": None,
            "basic": "Basic dTpw",
            "bearer": f"Bearer {app['bearer']}",
            "unknown bearer": "Bearer AAAA-none",
            "app not enabled": f"Bearer {self.disabled['bearer']}",
        }
        if ask.auth in plain:
            if plain[ask.auth] is not None:
                headers["Authorization"] = str(plain[ask.auth])
            return None
        key, secret = app["consumer_key"], app["consumer_secret"]
        token, token_secret = app["access_token"], app["access_token_secret"]
        if ask.auth == "consumer only":
            return OAuth1(key, secret)
        if ask.auth == "unknown consumer":
            key = "nobody"
        elif ask.auth == "unknown token":
            token = f"{ask.owner_id}-nothing"
        elif ask.auth == "wrong secret":
            token_secret += "x"
        return OAuth1(key, secret, token, token_secret)
