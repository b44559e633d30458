"""The URL of an event log, such as `nats://user:password@host1,host2:4222/EVENTS?subject=e.>`."""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from openengagement.ingest.logs.contract import LogUnusable

_URL: Final = re.compile(
    r"(?P<scheme>[a-z]+)://(?:(?P<user>[^@/?#:]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<hosts>[^@/?#]+)/(?P<name>[^/?#]+)(?:\?(?P<options>[^#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?")
_PORTS: Final = {"nats": 4222, "tls": 4222, "kafka": 9092}
_OPTIONS: Final = {
    "nats": {"subject", "credentials", "name"},
    "tls": {"subject", "credentials", "name"},
    "kafka": {"config", "group", "name"},
}
_EXAMPLES: Final = "nats://HOST:4222/STREAM or kafka://HOST:9092/TOPIC"


@dataclass(frozen=True, slots=True)
class LogUrl:
    """The parts of a URL. `hosts` have ports. `name` is the stream or topic.

    `text` is the URL without user and password, for messages.
    """

    scheme: str
    hosts: tuple[str, ...]
    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """The URL without secrets."""
        return f"{self.scheme}://{','.join(self.hosts)}/{self.name}"

    def option(self, name: str) -> str:
        """Return the last value of an option, or an empty text."""
        return dict(self.options).get(name, "")

    def every(self, name: str) -> tuple[str, ...]:
        """Return all values of an option, which may be separated by commas."""
        texts = (value for key, value in self.options if key == name)
        return tuple(each for text in texts for each in text.split(",") if each)


def parse_url(text: str) -> LogUrl:
    """Parse the URL of a log.

    Raises:
        LogUnusable: it is no such URL. The text does not repeat it: it may have a password.
    """
    found = _URL.fullmatch(text)
    if found is None or found["scheme"] not in _PORTS:
        raise LogUnusable(f"the URL of the log is not like {_EXAMPLES}")
    scheme = found["scheme"]
    options = tuple(parse_qsl(found["options"] or "", keep_blank_values=True))
    if unknown := sorted({name for name, _ in options} - _OPTIONS[scheme]):
        allowed = ", ".join(sorted(_OPTIONS[scheme]))
        raise LogUnusable(f"the URL of the log has the unknown option {unknown[0]}; use {allowed}")
    return LogUrl(
        scheme,
        tuple(_parse_host(host, _PORTS[scheme]) for host in found["hosts"].split(",")),
        unquote(found["name"]),
        unquote(found["user"] or ""),
        unquote(found["password"] or ""),
        options,
    )


def _parse_host(text: str, port: int) -> str:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or port) < 2**16:
        raise LogUnusable(f"the URL of the log has the host {text!r}; use HOST or HOST:PORT")
    return f"{found['host']}:{found['port'] or port}"
