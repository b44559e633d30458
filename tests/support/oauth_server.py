"""A server with people and apps, and OAuth calls that tests can change in every detail.

Attack tests use it to send what no honest client would send.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs

from openengagement.limits.opening import open_limits
from openengagement.sign_in.passwords import WINDOW_S, Guess
from support.calls import Answer, Client
from support.cli import call_command
from support.flows import CALLBACK, OOB, PASSWORD, add_consumer, set_password
from support.person import Person, query_of
from support.server import Server
from support.signing import as_form, as_header, protocol_parameters, signature_with
from support.stores import copy_stores, query_registry, registry_url, wait_for_change
from support.world import App, World

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECOND_CALLBACK = "https://second.example/return"
REQUEST_TOKEN = "/oauth/request_token"
ACCESS_TOKEN = "/oauth/access_token"
INVALIDATE_TOKEN = "/1.1/oauth/invalidate_token.json"
VERIFY_CREDENTIALS = "/1.1/account/verify_credentials.json"
TOTALS = "/insights/engagement/totals"
CROWD = 12  # enough connections for each of two workers to have some

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True)
class OAuthServer:
    """A server, and apps without access tokens."""

    server: Server
    web: App  # bob owns the apps; alice and bob have passwords
    other: App
    desktop: App

    @property
    def url(self) -> str:
        return self.server.url

    def call(
        self,
        path: str,
        app: App,
        *,
        method: str = "POST",
        more: Sequence[tuple[str, str]] = (),
        client: Client | None = None,
        **changes: str | None,
    ) -> Answer:
        """Make a signed OAuth call. `more` is a form, or with GET a query."""
        parameters = sign(app, method, self.url + path, more=more, **changes)
        return self.send(method, path, as_header(parameters), more=more, client=client)

    def send(
        self,
        method: str,
        path: str,
        authorization: str | None = None,
        *,
        more: Sequence[tuple[str, str]] = (),
        client: Client | None = None,
    ) -> Answer:
        """Send a request with a prepared Authorization header."""
        headers = {"Authorization": authorization} if authorization else {}
        body = None
        if more and method == "GET":
            path = f"{path}?{as_form(more)}"
        elif more:
            headers |= FORM
            body = as_form(more)
        return (client or self.server.client).send(method, path, headers=headers, body=body)

    def request_token(self, app: App, callback: str = OOB, **changes: str | None) -> App:
        """Return the app with a new request token."""
        answer = self.call(REQUEST_TOKEN, app, callback=callback, **changes)
        assert answer.status == 200, answer
        return with_token(app, answer)

    def exchange(
        self, app: App, verifier: str, *, client: Client | None = None, **changes: str | None
    ) -> Answer:
        """Call oauth/access_token with the app's request token."""
        return self.call(ACCESS_TOKEN, app, client=client, verifier=verifier, **changes)

    def consent_url(self, app: App, page: str = "authorize") -> str:
        """Return the URL of the consent page for the app's request token."""
        return f"{self.url}/oauth/{page}?oauth_token={app.access_token}"

    def authorize_request(
        self, person: Person, app: App, callback: str = CALLBACK
    ) -> tuple[App, str]:
        """Return a request token that the person has authorized, and the verifier or PIN."""
        asking = self.request_token(app, callback)
        if callback == OOB:
            return asking, person.authorize_pin(self.consent_url(asking))
        return asking, query_of(person.authorize(self.consent_url(asking)))["oauth_verifier"]

    def access_token_of(self, person: Person, app: App, callback: str = CALLBACK) -> App:
        """Return the app with an access token of this person."""
        asking, verifier = self.authorize_request(person, app, callback)
        answer = self.exchange(asking, verifier)
        assert answer.status == 200, answer
        self.server.secrets.append(verifier) if callback != OOB else None
        return with_token(app, answer)

    def verify_credentials(self, app: App, client: Client | None = None) -> Answer:
        """Call account/verify_credentials with the app's access token."""
        return self.call(VERIFY_CREDENTIALS, app, method="GET", client=client)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement in the registry of the running server. Triggers tell its caches."""
        found = query_registry(self.server.data, statement, *values)
        wait_for_change(self.server.data)
        return found

    def count_guesses(
        self,
        times: int,
        *,
        of: str,
        name: str = "",
        address: str = "",
        browser: str | None = None,
        position: int = 0,
    ) -> None:
        """Record that many password guesses, for `of`: both, address, account or browser.

        `address` may be a wider network; `position` is then its place among a client's networks.

        Real guesses would each take as long as Argon2id.
        """
        networks = ("",) * position + (address,)
        made = list(Guess(name, networks, browser).subjects)
        places = {"both": 0, "browser": 0, "address": -2, "account": -1}
        subject = made[places[of]]
        limits = open_limits(self.server.data, registry_url(self.server.data))
        for _ in range(times):
            limits.count(subject, {WINDOW_S: 1}, now_s=time.time())
        limits.close()

    def person(self, name: str = "alice", password: str = PASSWORD) -> Person:
        """Return a person with a new browser."""
        return Person(self.url, name, password)


def with_token(app: App, answer: Answer) -> App:
    """Return the app with the token and secret of a response."""
    found = {name: values[0] for name, values in parse_qs(answer.body.decode()).items()}
    return replace(
        app, access_token=found["oauth_token"], access_token_secret=found["oauth_token_secret"]
    )


def sign(
    app: App,
    method: str,
    url: str,
    *,
    more: Sequence[tuple[str, str]] = (),
    **changes: str | None,
) -> list[tuple[str, str]]:
    """Return the signed `oauth_*` parameters, with the app's token if it has one."""
    user = bool(app.access_token)
    parameters = protocol_parameters(app, user=user, **changes)
    signature = signature_with(method, url, [*parameters, *more], app, user=user)
    return [*parameters, ("oauth_signature", signature)]


@dataclass
class _Folder:
    """A data folder that no server has opened yet."""

    data: Path
    secrets: list[str]

    def command(self, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
        return call_command(self.data, *arguments, stdin=stdin)


@cache
def _with_people_and_apps(folder: Path) -> tuple[Path, list[str], list[App]]:
    """Return a copy of a folder with passwords and apps, their secrets, and the apps.

    It is made once, because a password takes a fifth of a second of CPU.
    """
    made = _Folder(folder.with_name("people-and-apps"), [PASSWORD])
    shutil.copytree(folder, made.data)
    copy_stores(folder, to=made.data)
    for name in ("alice", "bob"):
        set_password(made, name)
    added = [
        add_consumer(made, name, *(f"--callback={url}" for url in callbacks))
        for name, callbacks in (
            ("Web app", (CALLBACK, SECOND_CALLBACK)),
            ("Other app", (CALLBACK,)),
            ("Desktop app", ()),
        )
    ]
    return (
        made.data,
        made.secrets,
        [App(each.app_id, each.key, each.secret, "", "") for each in added],
    )


@contextmanager
def start_oauth_server(world: World, *, workers: int = 1, **settings: str) -> Iterator[OAuthServer]:
    """Start a server on which alice and bob have passwords, and bob has three apps."""
    folder, secrets, apps = _with_people_and_apps(world.folder)
    with Server(replace(world, folder=folder), workers=workers, settings=settings) as server:
        server.secrets += secrets
        yield OAuthServer(server, *apps)


@contextmanager
def connected_clients(server: Server, size: int = CROWD) -> Iterator[list[Client]]:
    """Open clients that keep their connections, which are spread over the workers."""
    clients = [Client(server.url) for _ in range(size)]
    try:
        for client in clients:  # connect now
            assert client.send("GET", "/health").status == 200
        yield clients
    finally:
        for client in clients:
            client.close()


def run_at_once(work: Callable[[Item], Done], items: Iterable[Item]) -> list[Done]:
    """Call `work` for all items at the same time, in threads."""
    every = list(items)
    with ThreadPoolExecutor(len(every)) as pool:
        return list(pool.map(work, every))


def stay_in_window(needed_s: float = 30) -> None:
    """Wait for the next window of guesses if too little is left of this one."""
    left_s = WINDOW_S - time.time() % WINDOW_S
    if left_s < needed_s:
        time.sleep(left_s + 0.1)
