"""The examples of the API reference, run as they stand, in all four languages."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from openengagement.api.openapi.operations import AUTHOR_ID, PAGES, TWEET_ID
from openengagement.api.openapi.samples import LANGUAGES
from support.api_document import problems_of, read_document
from support.calls import sign_as_app
from support.flows import PASSWORD, set_password
from support.person import Person
from support.server import Server
from support.waiting import PATIENCE_S
from support.world import App

NODE_MODULES = Path(__file__).parent / "node_modules"
PROGRAMS = {
    "curl": ("bash", "sh"),
    "Python": (sys.executable, "py"),
    "JavaScript": ("node", "mjs"),
    "Ruby": ("ruby", "rb"),
}
CALLS = [
    (method.upper(), path)
    for path, methods in read_document()["paths"].items()
    for method in methods
    if path not in PAGES
]
ERASURE = "/platform/v1/accounts/{id}"
CALLS.sort(key=lambda call: call[1] == ERASURE)
assert set(PROGRAMS) == set(LANGUAGES)


class Reader:
    """The author of the examples' Tweet, with an app. Tokens are issued again when they ended."""

    def __init__(self, server):
        self.server = server
        self.key = server.command("platform-key", "issue", "examples")["platform_key"]
        self.register()
        made = server.command("app", "add", "Examples", "--owner", "reader")
        self.app_id = made["app_id"]
        self.consumer = (made["consumer_key"], made["consumer_secret"])
        server.command("app", "enable", self.app_id)
        set_password(server, "reader")

    def register(self):
        for what, row in {
            "accounts": {"id": AUTHOR_ID, "screen_name": "reader"},
            "tweets": {"id": TWEET_ID, "author_id": AUTHOR_ID, "deleted": False},
        }.items():
            answer = self.server.client.platform("POST", what, self.key, body=row)
            assert answer.json()["accepted"] == 1, answer

    def request_token(self):
        """A request token that the author has authorized: token, secret, PIN."""
        app = App("", *self.consumer, "", "")
        asked = self.server.client.send(
            "POST", "/oauth/request_token?oauth_callback=oob", auth=sign_as_app(app)
        )
        given = parse_qs(asked.body.decode())
        token, secret = given["oauth_token"][0], given["oauth_token_secret"][0]
        with Person(self.server.url, "reader", PASSWORD) as person:
            url = f"{self.server.url}/oauth/authorize?oauth_token={token}"
            pin = person.decide(url, "authorize").texts["pin"]
        return token, secret, pin.strip()

    def variables(self, path):
        self.register()
        platform = {"ENGAGEMENT_API_URL": self.server.url, "PLATFORM_KEY": self.key}
        if path == ERASURE:  # the first one erases the app, too
            return platform
        issued = self.server.command("token", "issue", self.app_id)
        names = platform | {
            "CONSUMER_KEY": self.consumer[0],
            "CONSUMER_SECRET": self.consumer[1],
            "ACCESS_TOKEN": issued["access_token"],
            "ACCESS_TOKEN_SECRET": issued["access_token_secret"],
            "BEARER_TOKEN": self.server.command("token", "bearer", self.app_id)["access_token"],
        }
        if path == "/oauth/access_token":
            wanted = ("REQUEST_TOKEN", "REQUEST_TOKEN_SECRET", "VERIFIER")
            names |= dict(zip(wanted, self.request_token(), strict=True))
        return names


@pytest.fixture(scope="module")
def reader(world):
    with Server(world) as server:
        yield Reader(server)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which node finds its packages."""
    made = tmp_path_factory.mktemp("samples")
    (made / "node_modules").symlink_to(NODE_MODULES)
    return made


def run(language, source, *, folder, variables):
    """Run an example. Return what it printed."""
    program, ending = PROGRAMS[language]
    assert shutil.which(program), f"{program} is not installed"
    file = folder / f"{uuid.uuid4().hex}.{ending}"
    file.write_text(source)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [program, file],
        cwd=folder,
        env={**kept, **variables, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answered(language, printed):
    """The status and the body that an example printed. curl prints no status."""
    if language == "curl":
        return None, printed
    status, _, body = printed.partition("\n" if language == "Ruby" else " ")
    return int(status), body.removesuffix("\n")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("method", "path"), CALLS, ids=lambda value: value)
def test_an_example_is_served(reader, folder, method, path, language):
    operation = read_document()["paths"][path][method.lower()]
    (source,) = (each["source"] for each in operation["x-codeSamples"] if each["lang"] == language)
    variables = reader.variables(path)
    status, body = answered(language, run(language, source, folder=folder, variables=variables))
    served = next(int(each) for each in operation["responses"] if each.startswith("2"))
    assert status in {None, served}, body
    kind = next(iter(operation["responses"][str(served)]["content"]), "")
    headers = {"content-type": kind, "x-request-id": "0" * 16}
    for name in operation["responses"][str(served)]["headers"]:
        headers.setdefault(name, "0")
    assert problems_of(method, path, status=served, headers=headers, body=body.encode()) == []
