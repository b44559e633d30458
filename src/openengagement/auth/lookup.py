"""Credentials by what a request shows of them, decrypted once and remembered while they hold."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from openengagement.auth.credentials import Keyring, hash_token
from openengagement.registry.apps import App
from openengagement.registry.cache import Entries, VersionedCache
from openengagement.registry.grants import AccessToken
from openengagement.registry.registry import Registry

Found = TypeVar("Found")
MISSES_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Consumer:
    """An app and its consumer secret in the clear."""

    app: App
    secret: str


@dataclass(frozen=True, slots=True)
class UserToken:
    """An access token and its secret in the clear."""

    token: AccessToken
    secret: str


class CredentialLookup:
    """Looks credentials up; what it returns is never older than the registry's last commit."""

    def __init__(self, registry: Registry, keyring: Keyring) -> None:
        self._registry = registry
        self._keyring = keyring
        self._cache = VersionedCache(registry.version)

    def signing_pair(
        self, consumer_key: str, token: str
    ) -> tuple[Consumer | None, UserToken | None]:
        """What a signature is made with. No token, or one of another app, is no user token."""
        entries = self._cache.entries()
        consumer = self._consumer(consumer_key, entries)
        user = self._user_token(token, entries) if token else None
        if user and consumer and user.token.app_id != consumer.app.id:
            user = None
        return consumer, user

    def consumer(self, consumer_key: str) -> Consumer | None:
        """An app by its consumer key."""
        return self._consumer(consumer_key, self._cache.entries())

    def bearer(self, token: str) -> App | None:
        """The app whose live bearer token this is."""
        digest = hash_token(token)
        entries = self._cache.entries()
        load = self._registry.apps.find_by_bearer
        return _find(entries, ("bearer", digest), load=lambda: load(digest))

    def platform_key(self, key: str) -> bytes | None:
        """What is stored of a platform key, None when no such key was issued."""
        digest = hash_token(key)
        known = self._registry.has_platform_key
        entries = self._cache.entries()
        return _find(entries, ("platform", digest), load=lambda: digest if known(digest) else None)

    def protected(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Of the registered ones among these accounts: whether each is protected."""
        entries = self._cache.entries()
        missing = [each for each in account_ids if ("account", each) not in entries]
        if missing:
            found = self._registry.read_protected(missing)
            entries.update({("account", each): found.get(each) for each in missing})
        known = {each: entries["account", each] for each in account_ids}
        return {each: flag for each, flag in known.items() if flag is not None}

    def _consumer(self, consumer_key: str, entries: Entries) -> Consumer | None:
        def load() -> Consumer | None:
            app = self._registry.apps.find(consumer_key)
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
    found = load()
    # Some guesses of strangers are remembered as well, so that repeating one is cheap; not so many
    # that they crowd out what is real.
    if found is not None or len(entries) < MISSES_MAX:
        entries[key] = found
    return found
