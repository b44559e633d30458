"""Parse the examples of the API's pages, send them to a server, and compare the responses."""

import json
import re
import shlex
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requests.auth import AuthBase
from requests_oauthlib import OAuth1

from support.calls import Answer
from support.person import Person
from support.server import Server
from support.waiting import PATIENCE_S

_DOCS = Path(__file__).parents[2] / "docs"
# In the order of their sections, because later examples use values of earlier ones.
API_PAGES = (
    _DOCS / "api.md",
    *(
        _DOCS / "api" / f"{name}.md"
        for name in (
            "endpoints",
            "engagement-types",
            "responses",
            "authentication",
            "three-legged-flow",
            "tokens",
            "events",
            "registering",
            "codes",
            "oddities",
            "demo-data",
        )
    ),
)
DEMO_DATA = API_PAGES[-1]
PASSWORD = "a mooring buoy, seven geese and 40 lanterns"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Values that later examples use; every other placeholder stands for any text.
_REMEMBERED = ("<request token>", "<request token secret>", "<verifier>")
_PLACEHOLDER = re.compile(r"<[a-z ]+>")
_VARIABLE = re.compile(r"\$([A-Z][A-Z_]+)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the page and line on which its content begins."""

    place: str
    kind: str
    text: str


@dataclass(frozen=True)
class Message:
    """A request or a response as the page prints it: first line, headers, body."""

    first: str
    headers: Mapping[str, str]
    body: str


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(f"{page.name}:{text.count(chr(10), 0, match.start(2)) + 1}", match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def read_commands(page: Path) -> list[str]:
    """The commands that make the demo data, one per line."""
    lines = [line for block in read_blocks(page) if block.kind == "sh" for line in _lines(block)]
    return [line for line in lines if line.startswith("openengagement ")]


def _lines(block: Block) -> list[str]:
    return block.text.replace("\\\n", " ").splitlines()


def parse_message(text: str) -> Message:
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return Message(first, headers, body.removesuffix("\n"))


class Examples:
    """Runs the page's examples against one server and remembers the values they mention."""

    _server: Server

    def __init__(self, *, shift_s: float) -> None:
        self._shift_s = shift_s
        self._values: dict[str, str] = {}
        self.problems: list[str] = []
        self.compared = 0

    def prepare(self, page: Path, run: Callable[..., Mapping[str, Any]]) -> None:
        """Run the commands of the demo data. The comment after a command names its output."""
        for line in read_commands(page):
            command, _, comment = line.partition("#")
            _, *arguments = shlex.split(command)
            printed = run(*arguments)
            for name in re.findall(r"\b[A-Z_]{6,}\b", comment):
                key = name.lower()
                self._values[f"${name}"] = str(printed.get(key) or printed["access_token"])

    def use(self, server: Server) -> None:
        """Send the following requests to this server."""
        self._server = server

    def run(self, blocks: Iterator[Block]) -> None:
        """Send each request and compare the response that follows it."""
        for block in blocks:
            if block.kind == "text" and "oauth_verifier=" in block.text:
                self._compare(block, self._approve(), self._fill(block.text.strip()))
            elif block.kind == "http":
                request = parse_message(self._fill(block.text))
                answer = self._send(request)
                self._compare_answer(next(blocks), answer)
            elif block.text.startswith("curl ") and shutil.which("curl"):
                self._compare(block, self._run_curl(block.text), answer.json())

    def _run_curl(self, text: str) -> Any:
        """Run a curl command of the page against this server."""
        command = self._fill(text).replace("http://127.0.0.1:8080", self._server.url)
        done = subprocess.run(
            ["sh", "-c", f"{command.strip()} --silent --noproxy '*'"],
            capture_output=True,
            check=True,
            timeout=PATIENCE_S,
        )
        return json.loads(done.stdout)

    def _approve(self) -> str:
        """Sign in as alice and authorize the app. Return the URL to which she is redirected."""
        token = self._values["<request token>"]
        self._server.command("account", "password", "alice", "--stdin", stdin=f"{PASSWORD}\n")
        with Person(self._server.url, "alice", PASSWORD) as alice:
            return alice.authorize(f"{self._server.url}/oauth/authorize?oauth_token={token}")

    def _send(self, request: Message) -> Answer:
        method, path = request.first.split(" ")
        headers = dict(request.headers)
        auth = self._auth(headers.get("Authorization", ""))
        if auth is not None:
            del headers["Authorization"]
        return self._server.client.send(
            method, path, body=request.body or None, headers=headers, auth=auth
        )

    def _auth(self, words: str) -> AuthBase | None:
        """Return the signer for a shorthand of the page, or None for a literal header."""
        if words == "Basic <key and secret>":
            return _Basic(self._values["$CONSUMER_KEY"], self._values["$CONSUMER_SECRET"])
        token = {
            "OAuth <signed by the app alone>": (None, None),
            "OAuth <signed by alice>": ("$ACCESS_TOKEN", "$ACCESS_TOKEN_SECRET"),
            "OAuth <signed with the request token>": ("<request token>", "<request token secret>"),
        }.get(words)
        if token is None:
            return None
        return OAuth1(
            self._values["$CONSUMER_KEY"],
            self._values["$CONSUMER_SECRET"],
            self._values.get(token[0] or ""),
            self._values.get(token[1] or ""),
            timestamp=str(int(time.time() + self._shift_s)),
        )

    def _fill(self, text: str) -> str:
        """Return the text with all values that are known so far."""
        text = _VARIABLE.sub(lambda match: self._values.get(match[0], match[0]), text)
        return _PLACEHOLDER.sub(lambda match: self._values.get(match[0], match[0]), text)

    def _compare_answer(self, block: Block, answer: Answer) -> None:
        self.compared += 1
        expected = parse_message(self._fill(block.text))
        status = f"HTTP/1.1 {answer.status}"
        if not expected.first.startswith(status):
            self.problems.append(f"{block.place}: {status} {answer.body!r}")
            return
        for name, value in expected.headers.items():
            self._compare(block, answer.headers.get(name, ""), value)
        if answer.headers.get("content-type", "").startswith("application/json"):
            quoted = re.sub(r"(?<=: )<([a-z ]+)>", r'"<\1>"', expected.body)
            self._compare(block, answer.json(), json.loads(quoted))
        else:
            self._compare(block, answer.body.decode(), expected.body)

    def _compare(self, block: Block, found: Any, expected: Any) -> None:
        if not self._matches(found, expected):
            self.problems.append(f"{block.place}: {found!r} is not {expected!r}")

    def _matches(self, found: Any, expected: Any) -> bool:
        if isinstance(expected, dict) and isinstance(found, dict):
            return list(found) == list(expected) and all(
                self._matches(found[key], value) for key, value in expected.items()
            )
        if isinstance(expected, list) and isinstance(found, list):
            return len(found) == len(expected) and all(map(self._matches, found, expected))
        if isinstance(expected, str) and _PLACEHOLDER.search(expected):
            return self._matches_text(str(found), expected)
        return type(found) is type(expected) and found == expected

    def _matches_text(self, found: str, expected: str) -> bool:
        """Compare with placeholders, and remember the values in their places."""
        names = _PLACEHOLDER.findall(expected)
        pattern = "(.+?)".join(re.escape(part) for part in _PLACEHOLDER.split(expected))
        match = re.fullmatch(pattern, found, re.DOTALL)
        if match:
            found_values = dict(zip(names, match.groups(), strict=True))
            self._values |= {name: found_values[name] for name in names if name in _REMEMBERED}
        return match is not None


class _Basic(AuthBase):
    """An app's key and secret."""

    def __init__(self, key: str, secret: str) -> None:
        self._value = b64encode(f"{key}:{secret}".encode()).decode()

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Basic {self._value}"
        return request
