"""The platform's own keys, which let it send events and register accounts and Tweets."""

import sqlalchemy as sa

from openengagement.registry.database import Database
from openengagement.registry.schema import PLATFORM_KEYS


class PlatformKeys:
    """The platform keys of the registry, by their SHA-256 digest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_platform_key(self, *, name: str, key_hash: bytes, now_s: int) -> None:
        """Store the digest of a new key. Only people read its `name`."""
        row = {"key_hash": key_hash, "name": name, "created_at_s": now_s}
        self._database.change(PLATFORM_KEYS.insert().values(row), credentials=True)

    def has_platform_key(self, key_hash: bytes) -> bool:
        """Return whether a key with this digest was issued."""
        query = sa.select(PLATFORM_KEYS.c.key_hash).where(PLATFORM_KEYS.c.key_hash == key_hash)
        with self._database.reading() as db:
            return db.scalar(query) is not None
