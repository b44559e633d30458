"""What the synchronous and the asynchronous client of the platform share: how they are opened."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from urllib.parse import urlsplit

from openengagement_client.credentials import Credentials, load_profile
from openengagement_client.errors import ConfigurationError
from openengagement_client.platform_calls import PlatformCalls
from openengagement_client.retry_policy import RetryPolicy
from openengagement_client.sessions import LOOPBACK, Session, check_url
from openengagement_client.transport import Options


class PlatformMethods(ABC):
    """Opens the synchronous or the asynchronous client of the platform.

    The platform key is an argument, or comes from a profile, the environment (`PLATFORM_KEY`) or
    `.env`, as `load_profile` says.

    Raises:
        ConfigurationError: there is no URL or no key.
    """

    def __init__(
        self,
        url: str | None = None,
        platform_key: str | None = None,
        *,
        profile: str | None = None,
        policy: RetryPolicy | None = None,
        options: Options | None = None,
    ) -> None:
        self._options = options or Options()
        given = Credentials(platform_key=platform_key) if platform_key else None
        found = load_profile(url, given, profile=profile)
        if not (key := found.credentials.platform_key):
            raise ConfigurationError("no platform key: pass it, or set PLATFORM_KEY")
        base = check_url(found.url, allow_plain_http=self._options.allow_plain_http)
        session = Session(base, _bearer(key), policy or RetryPolicy())
        self._calls = PlatformCalls(session, compresses=urlsplit(base).hostname not in LOOPBACK)
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Make what sends the requests."""


def _bearer(key: str) -> Callable[..., str]:
    return lambda _method, **_rest: f"Bearer {key}"
