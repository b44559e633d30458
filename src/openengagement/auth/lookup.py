"""Look up credentials by the identifiers in a request. Decrypted secrets are cached."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from openengagement.auth.credentials import hash_token
from openengagement.auth.keyring import Keyring
from openengagement.metrics.table import MISSES
from openengagement.registry.apps import App
from openengagement.registry.cache import Entries, VersionedCache
from openengagement.registry.grants import AccessToken
from openengagement.registry.platform_keys import PlatformKey
from openengagement.registry.registry import Registry

Found = TypeVar("Found")
MISSES_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Consumer:
    """An app and its decrypted consumer secret."""

    app: App
    secret: str


@dataclass(frozen=True, slots=True)
class UserToken:
    """An access token and its decrypted secret."""

    token: AccessToken
    secret: str


class CredentialLookup:
    """Finds credentials. The very next lookup sees a change that was committed."""

    def __init__(self, registry: Registry, keyring: Keyring) -> None:
        self.blocking = registry.database.blocking  # on a miss of the cache
        self._registry = registry
        self._keyring = keyring
        self._cache = VersionedCache(registry.database.version)

    def count_cached(self) -> int:
        """Return the number of cached lookups."""
        return self._cache.count_cached()

    def find_signing_pair(
        self, consumer_key: str, token: str
    ) -> tuple[Consumer | None, UserToken | None]:
        """Find the credentials that a signature is made with; None for a missing one.

        `token` is empty for app-only requests. A token of another app counts as unknown.
        """
        entries = self._cache.entries()
        consumer = self._consumer(consumer_key, entries)
        user = self._user_token(token, entries) if token else None
        if user and consumer and user.token.app_id != consumer.app.id:
            user = None
        return consumer, user

    def find_consumer(self, consumer_key: str) -> Consumer | None:
        """Find an app by its consumer key."""
        return self._consumer(consumer_key, self._cache.entries())

    def find_by_bearer(self, token: str) -> App | None:
        """Find the app whose current bearer token this is."""
        digest = hash_token(token)
        entries = self._cache.entries()
        load = self._registry.apps.find_by_bearer
        return _find(entries, ("bearer", digest), load=lambda: load(digest))

    def find_platform_key(self, key: str) -> PlatformKey | None:
        """Find a platform key. Its last use may be out of date."""
        digest = hash_token(key)
        load = self._registry.platform_keys.find_platform_key
        return _find(self._cache.entries(), ("platform", digest), load=lambda: load(digest))

    def read_protected(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Map the registered ones of these accounts to whether they are protected."""
        entries = self._cache.entries()
        # Only accounts have plain ids as keys. A request may concern 250 of them.
        if missing := [one for one in account_ids if one not in entries]:
            MISSES.add(len(missing), "credentials")
            found = self._registry.accounts.read_protected(missing)
            entries.update({one: found.get(one) for one in missing})
        known = {one: entries[one] for one in account_ids}
        return {one: flag for one, flag in known.items() if flag is not None}

    def _consumer(self, consumer_key: str, entries: Entries) -> Consumer | None:
        def load() -> Consumer | None:
            app = self._registry.apps.find_by_consumer_key(consumer_key)
            if app is None:
                return None
            return Consumer(app, self._keyring.decrypt(app.consumer_secret))

        return _find(entries, ("consumer", consumer_key), load=load)

    def _user_token(self, token: str, entries: Entries) -> UserToken | None:
        def load() -> UserToken | None:
            found = self._registry.grants.find_access_token(token)
            if found is None:
                return None
            return UserToken(found, self._keyring.decrypt(found.secret))

        return _find(entries, ("token", token), load=load)


def _find(entries: Entries, key: Hashable, *, load: Callable[[], Found | None]) -> Found | None:
    if key in entries:
        known: Found | None = entries[key]
        return known
    MISSES.add(1, "credentials")
    found = load()
    # Unknown identifiers are cached too, so that repeating one is cheap. Their number is limited:
    # a stranger's guesses must not push real credentials out.
    if found is not None or len(entries) < MISSES_MAX:
        entries[key] = found
    return found
