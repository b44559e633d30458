"""Credentials, and where they come from: arguments, the environment, `.env`, or a named profile."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final, Self

from openengagement_client.errors import ConfigurationError
from openengagement_client.profiles import profiles_path, read_names, read_profile

URL_VARIABLE: Final = "ENGAGEMENT_API_URL"
PROFILE_VARIABLE: Final = "ENGAGEMENT_API_PROFILE"
DEFAULT_PROFILE: Final = "default"
_PAIRS: Final = (("consumer_key", "consumer_secret"), ("access_token", "access_token_secret"))

_IN_HEADER: Final = re.compile(r"[!-~]*")  # what may stand in a header as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The keys and tokens of a caller. `repr` shows no secret.

    With an access token, requests are signed for its user. Without one they are for the app alone:
    with the bearer token, or else signed with the consumer key.
    """

    consumer_key: str = ""
    consumer_secret: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    access_token_secret: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    platform_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name, secret in _PAIRS:
            if bool(getattr(self, name)) != bool(getattr(self, secret)):
                raise ConfigurationError(f"{name} and {secret} must be given together")
        for name in ("bearer_token", "platform_key"):
            if not _IN_HEADER.fullmatch(getattr(self, name)):
                raise ConfigurationError(f"{name} has a character that no header can have")
        if self.access_token and not self.consumer_key:
            raise ConfigurationError("an access token needs the consumer key and secret of its app")

    def app_only(self) -> Self:
        """Return them without the user: for public metrics of any author's Tweets."""
        return replace(self, access_token="", access_token_secret="")


@dataclass(frozen=True, slots=True)
class Profile:
    """A server's URL, and the credentials for it."""

    url: str
    credentials: Credentials


_NAMES: Final = tuple(each.name for each in fields(Credentials))


def load_profile(
    url: str | None = None,
    credentials: Credentials | None = None,
    *,
    profile: str | None = None,
    env_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Profile:
    """Find the URL and credentials that are not given as arguments.

    A named profile is read from the file of profiles, and nothing else is then mixed in. Without a
    name, `ENGAGEMENT_API_PROFILE` may name one. Otherwise the variables `ENGAGEMENT_API_URL`,
    `CONSUMER_KEY`, `CONSUMER_SECRET`, `ACCESS_TOKEN`, `ACCESS_TOKEN_SECRET`, `BEARER_TOKEN` and
    `PLATFORM_KEY` count, first those of the environment, then those of `.env` in this folder.
    If none of them is set, the profile `default` counts, which `oe login` writes.

    Raises:
        ConfigurationError: there is no URL, or a file or profile is missing or unusable.
    """
    known = os.environ if environment is None else environment
    if url is None or credentials is None:
        found = _find(profile or known.get(PROFILE_VARIABLE), env_file, environment=known)
        if not found and url is None and credentials is None:
            found = _default_profile(known)
        url = url or found.get("url", "")
        credentials = credentials or Credentials(**{name: found.get(name, "") for name in _NAMES})
    if not url:
        raise ConfigurationError(
            f"no URL: set {URL_VARIABLE} in the environment or .env, name a profile, or pass it"
        )
    return Profile(url.rstrip("/"), credentials)


def _find(
    profile: str | None, env_file: Path | None, *, environment: Mapping[str, str]
) -> dict[str, str]:
    if profile:
        return read_profile(profiles_path(environment), profile, names=_NAMES)
    if env_file is not None and not env_file.exists():
        raise ConfigurationError(f"there is no file {env_file}")
    values = {**_read_env_file(env_file or Path(".env"))}
    values |= {name: value for name, value in environment.items() if value}
    named = {"url": URL_VARIABLE, **{name: name.upper() for name in _NAMES}}
    return {name: values[variable] for name, variable in named.items() if variable in values}


def _default_profile(environment: Mapping[str, str]) -> dict[str, str]:
    path = profiles_path(environment)
    if DEFAULT_PROFILE not in read_names(path):
        return {}
    return read_profile(path, DEFAULT_PROFILE, names=_NAMES)


_ASSIGNMENT: Final = re.compile(
    r"""^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'#]\S*|))(?:\s+\#.*|\s*)$"""
)


def _read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines. Values may be quoted; nothing is interpolated.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None
    found = {}
    for line in lines:
        if match := _ASSIGNMENT.match(line):
            name, *values = match.groups()
            if value := next((each for each in values if each), ""):
                found[name] = value
    return found


def profile_fields(profile: Profile) -> dict[str, str]:
    """Return the fields of a profile as the file of profiles has them."""
    given = {name: getattr(profile.credentials, name) for name in _NAMES}
    return {"url": profile.url, **{name: value for name, value in given.items() if value}}
