"""Run the real server in a process of its own, and use it over HTTP and its command line only."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from requests_oauthlib import OAuth1

from oracle.bodies import CONTENT_TYPES
from oracle.generator import OWNER_IDS, Batch
from oracle.request_maker import ApiRequest
from support.cli import call_command, start_server
from support.forked import Process
from support.ports import HOST, free_port, is_free
from support.waiting import PATIENCE_S, wait_for

RATE_LIMIT = "10000000"


def screen_name(account_id: int) -> str:
    """Make the screen name of an account."""
    return f"u{account_id}"


class Server:
    """One server with its own data folder, an enabled app for each owner, and one never enabled."""

    def __init__(self, *, workers: int = 1) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="oracle-")
        self.data = Path(self.folder.name, "data")
        self.workers = workers
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.apps: dict[int, dict[str, str]] = {}
        self.disabled: dict[str, str] = {}
        self.platform_key = ""
        self.process: Process | None = None
        self.log = Path(self.folder.name, "server.log")
        self.local = threading.local()
        self.sessions: list[requests.Session] = []

    def __enter__(self) -> Self:
        """Start the server, and make accounts and apps."""
        self.platform_key = self.run("platform-key", "issue", "oracle")["platform_key"]
        try:
            self.start()
            self.make_apps()
        except BaseException:
            self.stop()
            raise
        return self

    def start(self) -> None:
        """Start the server process, and wait until it answers."""
        options = ("--port", self.port, "--workers", self.workers)
        self.process = start_server(self.data, *options, log=self.log, new_session=True)
        self.wait_until_it_answers()

    def kill_and_restart(self) -> None:
        """Kill the server with all its workers, and restart it on the same data."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: is_free(self.port))  # the workers are nobody's children now
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
        """Stop the process, and kill it if it does not stop."""
        for session in self.sessions:
            session.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.folder.cleanup()

    # The command line.

    def run(self, *arguments: str) -> dict[str, str]:
        """Run one command on the data folder in this process, and parse the object it prints."""
        return call_command(self.data, *arguments)

    def make_apps(self) -> None:
        """Register the owners, and make their apps."""
        owners = [{"id": str(one), "screen_name": screen_name(one)} for one in OWNER_IDS]
        answer = self.send("accounts", json.dumps(owners).encode(), "json")
        if not answer.ok or answer.json()["accepted"] != len(owners):
            raise RuntimeError(f"accounts: {answer.text}")
        self.apps = {owner_id: self.make_app(owner_id) for owner_id in OWNER_IDS}
        self.disabled = self.make_disabled_app()

    def make_app(self, owner_id: int) -> dict[str, str]:
        """Make an enabled app with its owner's access token and a bearer token."""
        app = self.run("app", "add", f"app of {owner_id}", "--owner", screen_name(owner_id))
        self.run("app", "enable", app["app_id"], "--per-minute", RATE_LIMIT)
        app.update(self.run("token", "issue", app["app_id"]))
        if owner_id == OWNER_IDS[0]:
            app["bearer"] = self.run("token", "bearer", app["app_id"])["access_token"]
        else:
            app["bearer"] = self.bearer_token(app)
        return app

    def make_disabled_app(self) -> dict[str, str]:
        """Make an app that is never enabled."""
        app = self.run("app", "add", "never enabled", "--owner", screen_name(OWNER_IDS[0]))
        app["bearer"] = self.bearer_token(app)
        return app

    def bearer_token(self, app: dict[str, str]) -> str:
        """Request a bearer token as clients do."""
        answer = requests.post(
            self.url + "/oauth2/token",
            auth=(app["consumer_key"], app["consumer_secret"]),
            data={"grant_type": "client_credentials"},
            timeout=PATIENCE_S,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    # HTTP.

    def wait_until_it_answers(self) -> None:
        """Send requests without credentials until one is answered."""
        wait_for(self._answers, pause_s=0.05, reason=self._end_of_log)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._end_of_log()
        try:
            requests.post(self.url + "/insights/engagement/totals", timeout=PATIENCE_S)
        except requests.ConnectionError:
            return False
        return True

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def session(self) -> requests.Session:
        """Return the session of this thread."""
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.trust_env = False
            self.sessions.append(self.local.session)
        session: requests.Session = self.local.session
        return session

    def send(
        self, what: str, body: bytes, form: str, headers: dict[str, str] | None = None
    ) -> requests.Response:
        """Send one body to the platform API; retry while the queue is full."""
        all_headers = {
            "Authorization": f"Bearer {self.platform_key}",
            "Content-Type": CONTENT_TYPES[form],
            **(headers or {}),
        }
        url = f"{self.url}/platform/v1/{what}"

        def post() -> tuple[requests.Response] | None:  # a response that refuses is false
            answer = self.session().post(url, data=body, headers=all_headers, timeout=PATIENCE_S)
            refused = answer.status_code == requests.codes.service_unavailable
            return None if refused else (answer,)

        (answer,) = wait_for(post, pause_s=0.2, reason=f"accepted: the queue of {what} is full")
        return answer

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
            timeout=PATIENCE_S,
        )

    def request(self, request: ApiRequest) -> requests.Response:
        """Send one request with its kind of authentication."""
        raw, headers = request.raw, dict(request.headers)
        if headers.get("Content-Encoding") == "gzip":
            raw = gzip.compress(raw)
        auth = self.signer(request, headers)
        url = f"{self.url}/insights/engagement/{request.endpoint}"
        return self.session().post(url, data=raw, headers=headers, auth=auth, timeout=PATIENCE_S)

    def signer(self, request: ApiRequest, headers: dict[str, str]) -> Any:
        """Add a bearer token to the headers, or make the signer of an OAuth 1.0a request."""
        app = self.apps[request.owner_id]
        plain = {
            "no credentials": None,
            "basic": "Basic dTpw",
            "bearer": f"Bearer {app['bearer']}",
            "unknown bearer": "Bearer AAAA-none",
            "app not enabled": f"Bearer {self.disabled['bearer']}",
        }
        if request.auth in plain:
            if plain[request.auth] is not None:
                headers["Authorization"] = str(plain[request.auth])
            return None
        key, secret = app["consumer_key"], app["consumer_secret"]
        token, token_secret = app["access_token"], app["access_token_secret"]
        if request.auth == "consumer only":
            return OAuth1(key, secret)
        if request.auth == "unknown consumer":
            key = "nobody"
        elif request.auth == "unknown token":
            token = f"{request.owner_id}-nothing"
        elif request.auth == "wrong secret":
            token_secret += "x"
        return OAuth1(key, secret, token, token_secret)
