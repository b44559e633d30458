"""One call to a server, its attempts, and what became of them. Plain values."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openengagement_client.errors import ApiError, make_error


@dataclass(frozen=True, slots=True)
class Send:
    """A step: send this request. Headers have names in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Wait:
    """A step: do nothing for so many seconds, because of `reason`."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to one attempt. The body is decompressed.

    `content` is the decoded JSON of a success, for calls that expect JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    content: Any = None

    @property
    def is_success(self) -> bool:
        """Tell whether the status is 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - the class of a status

    def error(self) -> ApiError:
        """Build the exception for a refusal."""
        return make_error(self.status, self.headers, body=self.body)


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without an answer: why."""

    reason: str


Outcome = Reply | Failure | None
Steps = Generator[Send | Wait, Outcome, Reply]


@dataclass(frozen=True, slots=True)
class Call:
    """One call, whatever the number of attempts. `path` begins with a slash.

    With `expects_json`, a success whose JSON is cut off is a failed attempt.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    expects_json: bool = False
