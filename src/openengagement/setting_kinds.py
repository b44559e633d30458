"""The kinds of settings, and checks of their texts. The table is in `settings`."""

import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from openengagement.engagement.types import parse_decimal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_MAPPING_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

# A field's type is its annotation, so these functions return Any.


def number(default: int, text: str, *, unit: str, limits: tuple[int, int]) -> Any:  # noqa: ANN401
    """Declare a whole number within limits."""
    meta = {"help": text, "unit": unit, "low": limits[0], "high": limits[1]}
    return dataclasses.field(default=default, metadata=meta)


def switch(text: str, *, default: bool = False) -> Any:  # noqa: ANN401
    """Declare a setting that is true or false."""
    return dataclasses.field(default=default, metadata={"help": text, "unit": "true or false"})


def text(default: str, text: str, *, unit: str, secret: bool = False) -> Any:  # noqa: ANN401
    """Declare a text; a secret is never shown."""
    return dataclasses.field(
        default=default, repr=not secret, metadata={"help": text, "unit": unit}
    )


def choice(default: str, text: str, *choices: str) -> Any:  # noqa: ANN401
    """Declare one of several texts."""
    meta = {"help": text, "unit": ", ".join(choices), "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


def parse_value(text: str, *, field: "dataclasses.Field[Any]") -> int | bool | str:
    """Parse the text of a setting.

    Raises:
        ValueError: it does not fit. The text says which values do.
    """
    if field.type is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"write true or false, not {text!r}")
        return text.lower() == "true"
    if field.type is int:
        low, high = field.metadata["low"], field.metadata["high"]
        number = parse_decimal(text, maximum=high)
        if number is None or number < low:
            raise ValueError(f"write a whole number from {low} to {high}, not {text!r}")
        return number
    choices = field.metadata.get("choices")
    if choices and text not in choices:
        raise ValueError(f"write one of {', '.join(choices)}, not {text!r}")
    return text


def parse_mappings(text: str) -> dict[str, Path]:
    """Parse names of mappings with their files, `NAME=FILE,NAME=FILE`.

    Raises:
        ValueError
    """
    found: dict[str, Path] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, path = part.partition("=")
        if not _MAPPING_NAME.fullmatch(name) or not path:
            raise ValueError(f"write NAME=FILE with a name of a-z, 0-9, _ and -, not {part!r}")
        if name in found:
            raise ValueError(f"{name} is named twice")
        found[name] = Path(path)
    return found


def read_secret(secret: str, path: str) -> str:
    """Return a secret, from the file `path` if that is given.

    Raises:
        ValueError: both are given, or the file cannot be read or is empty.
    """
    if not path:
        return secret
    if secret:
        raise ValueError("the secret is also set in the environment; set only one of them")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f"{path} cannot be read") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return text


def is_host(text: str) -> bool:
    """Return whether a text is a host name or address, with or without a port."""
    try:
        parts = urlsplit(f"//{text}")
        plain = not set("@;'\"") & set(text)
        return parts.netloc == text and bool(parts.hostname) and parts.port != 0 and plain
    except ValueError:
        return False


def is_provider_url(url: str) -> bool:
    """Return whether the URL may be an OpenID Connect provider: HTTPS, or HTTP on this machine."""
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in ' "<>\\#'):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in THIS_MACHINE)


def parse_hosts(text: str) -> frozenset[str]:
    """Parse host names, separated by commas, into lower case.

    Raises:
        ValueError
    """
    names = frozenset(name.strip().lower() for name in text.split(",") if name.strip())
    if wrong := [name for name in names if not is_host(name)]:
        raise ValueError(f"write names such as api.example.com or localhost:8080, not {wrong[0]!r}")
    return names


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse networks, separated by commas.

    Raises:
        ValueError
    """
    return tuple(ipaddress.ip_network(name.strip()) for name in text.split(",") if name.strip())


def parse_day(text: str) -> int:
    """Parse a date into the Unix seconds of its midnight in UTC.

    Raises:
        ValueError
    """
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("write a date as YYYY-MM-DD") from None
    return int(day.timestamp())


def parse_address(text: str) -> tuple[str, int]:
    """Parse the address of a port, `host:port` or `[address]:port`.

    Raises:
        ValueError
    """
    if is_host(text) and text == text.strip():
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.port:
            return parts.hostname, parts.port
    raise ValueError(f"write an address such as 127.0.0.1:9464, not {text!r}")


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that accepts mail. With `tls`, the connection begins with TLS, else STARTTLS."""

    host: str
    port: int
    user: str = dataclasses.field(repr=False)
    password: str = dataclasses.field(repr=False)
    tls: bool

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine. Mail to it needs no TLS."""
        return self.host in THIS_MACHINE


def parse_mail_server(url: str) -> MailServer:
    """Parse the URL of a server for mail. The ports are 587 and 465 by default.

    Raises:
        ValueError
    """
    wrong = "write a URL such as smtp://user:password@mail.example.com:587"
    try:
        parts = urlsplit(url)
        port = parts.port or {"smtp": 587, "smtps": 465}[parts.scheme]
    except (KeyError, ValueError):
        raise ValueError(wrong) from None
    plain = url.isascii() and url.isprintable() and is_host(parts.netloc.rpartition("@")[2])
    if not plain or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(wrong)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("write both a user and a password, or none of them")
    return MailServer(parts.hostname or "", port, user, password, parts.scheme == "smtps")


def parse_mail_address(text: str) -> str:
    """Check a mail address without a display name.

    Raises:
        ValueError
    """
    user, _, host = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not set(' "<>(),:;[]\\') & set(text)
    if not (plain and user and "@" not in user and host and is_host(host)):
        raise ValueError(f"write an address such as operator@example.com, not {text[:80]!r}")
    return text


def parse_mail_addresses(text: str) -> tuple[str, ...]:
    """Parse mail addresses, separated by commas.

    Raises:
        ValueError
    """
    return tuple(parse_mail_address(each.strip()) for each in text.split(",") if each.strip())


def check_public_url(url: str) -> None:
    """Check that a text is an HTTP or HTTPS URL without a path, or that it is empty.

    Raises:
        ValueError
    """
    if not url:
        return
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and parts.path in {"", "/"}
    known = parts.scheme in {"http", "https"} and is_host(parts.netloc)
    if not (plain and known) or parts.query or parts.fragment:
        raise ValueError(
            "write an https URL without a path, such as https://engagement.example.com"
        )


def check_tweet_url(template: str) -> None:
    """Check that `{id}` stands in the path or query of an HTTP or HTTPS URL, or that it is empty.

    Raises:
        ValueError
    """
    if not template:
        return
    parts = urlsplit(template)
    plain = template.isascii() and template.isprintable() and not set(' "<>\\') & set(template)
    known = parts.scheme in {"http", "https"} and is_host(parts.netloc)
    if not (plain and known and "{id}" in template and "{id}" not in parts.netloc):
        raise ValueError("write an http or https URL with {id} in its path or query")


def find_oidc_fault(client: tuple[str, str, str], *, scope: str, claim: str) -> str | None:
    """Say what is wrong with the settings of the provider, after the name of the setting.

    `client` is the issuer, the client ID and the secret.
    """
    issuer = client[0]
    if any(client) and not all(client):
        names = "OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE)"
        return f"{names}: set all three or none"
    if issuer and ("?" in issuer or not is_provider_url(issuer)):
        return "OIDC_ISSUER: write an https URL without ? or #, or http on this machine"
    if "openid" not in scope.split():
        return "OIDC_SCOPE: name openid among the scopes"
    return None if claim else "OIDC_ACCOUNT_CLAIM: name a claim"


def find_database_fault(registry: str, store: str) -> str | None:
    """Say what is wrong with the URLs of the databases, after the name of the setting."""
    if registry and not _is_postgresql_url(registry):
        return "REGISTRY: write a URL such as postgresql://user:password@host:5432/name"
    if store and not _is_clickhouse_url(store):
        return "STORE: write a URL such as clickhouse://user:password@host1,host2/name?cluster=name"
    if store and not registry:
        return "STORE: set the URL of REGISTRY too; PostgreSQL keeps the Tweets of a cluster"
    return None


def _is_postgresql_url(url: str) -> bool:
    """Return whether the URL names a database of PostgreSQL. Its host may be in the query."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"postgresql", "postgres"} and len(parts.path) > 1


def _is_clickhouse_url(url: str) -> bool:
    """Return whether the URL names a database on servers of ClickHouse."""
    parts = urlsplit(url)
    hosts = parts.netloc.rpartition("@")[2].split(",")
    known = parts.scheme in {"clickhouse", "clickhouses"} and parts.path[1:].isidentifier()
    return known and all(map(is_host, hosts))
