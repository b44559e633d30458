"""Credentials by what a request shows of them, decrypted once and remembered while they hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from openengagement.auth.credentials import Keyring, hash_token
from openengagement.registry.cache import VersionedCache
from openengagement.registry.registry import AccessToken, App, Registry

Found = TypeVar("Found")
TOKEN_LENGTH_MAX: Final = 256  # no credential of ours is longer, so longer ones are not looked up


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

    def consumer(self, consumer_key: str) -> Consumer | None:
        def load() -> Consumer | None:
            app = self._registry.find_app(consumer_key)
            if app is None:
                return None
            return Consumer(app, self._keyring.decrypt(app.consumer_secret))

        return self._find("consumer", consumer_key, load=load)

    def user_token(self, token: str) -> UserToken | None:
        def load() -> UserToken | None:
            found = self._registry.find_access_token(token)
            if found is None:
                return None
            return UserToken(found, self._keyring.decrypt(found.secret))

        return self._find("token", token, load=load)

    def bearer(self, token: str) -> App | None:
        digest = hash_token(token)
        return self._find("bearer", token, load=lambda: self._registry.find_app_by_bearer(digest))

    def platform_key(self, key: str) -> bool:
        digest = hash_token(key)
        known = self._find(
            "platform", key, load=lambda: self._registry.has_platform_key(digest) or None
        )
        return known is not None

    def protected(self, account_ids: Sequence[int]) -> dict[int, bool]:
        """Of the registered ones among these accounts: whether each is protected."""
        entries = self._cache.entries()
        missing = [each for each in account_ids if ("account", each) not in entries]
        if missing:
            found = self._registry.read_protected(missing)
            entries.update({("account", each): found.get(each) for each in missing})
        known = {each: entries["account", each] for each in account_ids}
        return {each: flag for each, flag in known.items() if flag is not None}

    def _find(self, kind: str, name: str, *, load: Callable[[], Found | None]) -> Found | None:
        if len(name) > TOKEN_LENGTH_MAX:
            return None
        entries = self._cache.entries()
        found: Found | None = entries.get((kind, name))
        if found is None:
            found = load()
            if found is not None:  # strangers' guesses do not fill the cache
                entries[kind, name] = found
        return found
