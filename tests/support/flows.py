"""Shared by the tests of the three-legged flow: URLs, apps, and checks of the token at its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from support.calls import question
from support.world import ALICE, RECENT

PASSWORD = "a mooring buoy, seven geese and 40 lanterns"
CALLBACK = "https://client.example/oauth/return?provider=engagement"
ESCAPED_CALLBACK = (
    "https://client.example/oauth/return?next=%2Fhome%3Fa%3D1&say=caf%C3%A9+au%20lait"
)
OOB = "oob"

# Only the author's access token may read these. The counts are those of the seeded data.
OWNERS_QUESTION = question("111", types=("impressions", "engagements"))
OWNERS_FIGURES = {"g": {"111": {"impressions": "40", "engagements": "27"}}}
RECENT_QUESTION = question(RECENT, types=("url_clicks",))


@dataclass(frozen=True)
class Endpoints:
    """The URLs that a client needs, all on one host."""

    host: str

    @property
    def request_token(self) -> str:
        return f"{self.host}/oauth/request_token"

    @property
    def authorize(self) -> str:
        return f"{self.host}/oauth/authorize"

    @property
    def authenticate(self) -> str:
        return f"{self.host}/oauth/authenticate"

    @property
    def access_token(self) -> str:
        return f"{self.host}/oauth/access_token"

    @property
    def invalidate_token(self) -> str:
        return f"{self.host}/1.1/oauth/invalidate_token.json"

    @property
    def verify_credentials(self) -> str:
        return f"{self.host}/1.1/account/verify_credentials.json"

    @property
    def totals(self) -> str:
        return f"{self.host}/insights/engagement/totals"

    @property
    def last_28_hours(self) -> str:
        return f"{self.host}/insights/engagement/28hr"


@dataclass(frozen=True)
class Consumer:
    """An app without an access token."""

    app_id: str
    key: str
    secret: str


class Commanded(Protocol):
    """A server, or a data folder that no server has opened yet."""

    secrets: list[str]

    def command(self, *arguments: str, stdin: str | None = None) -> dict[str, Any]: ...


def add_consumer(server: Commanded, name: str, *options: str) -> Consumer:
    """Add an enabled app of bob. It has no access token."""
    made = server.command("app", "add", name, "--owner", "bob", *options)
    server.command("app", "enable", made["app_id"])
    server.secrets.append(made["consumer_secret"])
    return Consumer(made["app_id"], made["consumer_key"], made["consumer_secret"])


def set_password(server: Commanded, screen_name: str, password: str = PASSWORD) -> None:
    """Set the password of an account by the command line."""
    server.command("account", "password", screen_name, "--stdin", stdin=f"{password}\n")


def add_manager(server: Commanded, screen_name: str) -> None:
    """Add a manager with a password."""
    server.command("account", "add", screen_name, "--role", "manager")
    set_password(server, screen_name)


def assert_is_alice(user: Mapping[str, Any]) -> None:
    """Check the body of `verify_credentials`, which sign-in libraries read."""
    found = (user["id"], user["id_str"], user["screen_name"])
    assert found == (int(ALICE), ALICE, "alice"), user
    assert "name" in user
    assert "profile_image_url_https" in user


def assert_is_28_hours(body: Mapping[str, Any]) -> None:
    """Check the response to `RECENT_QUESTION`: one to five clicks an hour, in 28 or 29 hours."""
    clicks = int(body["g"][RECENT]["url_clicks"])
    assert 28 <= clicks <= 5 * 29, body
