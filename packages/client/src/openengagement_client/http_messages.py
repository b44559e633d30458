"""A call to a server, the requests of its attempts, and their outcomes. Plain values."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from openengagement_client.errors import ApiError, make_error

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A step: send this request. Headers have names in lower case. `repr` shows no secret."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: do nothing for so many seconds, because of `reason`."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The whole answer to one attempt. The body is decompressed. `repr` shows no secret.

    `content` is the decoded JSON of a success, for calls that expect JSON.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    content: Any = field(default=None, repr=False)

    @property
    def is_success(self) -> bool:
        """Tell whether the status is 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the class of a status

    def error(self) -> ApiError:
        """Build the exception for a refusal."""
        return make_error(self.status, self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """An attempt without a usable answer: why. A lasting one is not tried again."""

    reason: str
    is_lasting: bool = False


Outcome = HttpResponse | TransportFailure | None
# A generator that yields what to do, receives what happened, and returns its result.
Steps = Generator[HttpRequest | Wait, Outcome, Done]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call, whatever the number of attempts. `path` begins with a slash.

    With `expects_json`, a success whose JSON is cut off is a failed attempt.
    """

    method: str
    path: str
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    expects_json: bool = False
