"""The platform's own keys, which let it send events and register accounts and Tweets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.audit import COMMAND_LINE, write_entry
from openengagement.registry.database import Database, columns_of, update_last_used
from openengagement.registry.schema import PLATFORM_KEYS


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key that was issued. Several keys may have the same name."""

    key_hash: bytes
    name: str
    created_at_s: int
    last_used_s: int | None

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the key and do not authenticate."""
        return key_id_of(self.key_hash)


def key_id_of(key_hash: bytes) -> str:
    """Return the id of the key with this digest."""
    return key_hash.hex()[:12]


class PlatformKeys:
    """The platform keys of the registry, by their SHA-256 digest. The command line changes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_platform_key(self, *, name: str, key_hash: bytes, now_s: int) -> None:
        """Store the digest of a new key. Only people read its `name`."""
        row = {"key_hash": key_hash, "name": name, "created_at_s": now_s}
        self._database.change(PLATFORM_KEYS.insert().values(row), credentials=True)

    def has_platform_key(self, key_hash: bytes) -> bool:
        """Return whether a key with this digest was issued and not revoked."""
        query = sa.select(PLATFORM_KEYS.c.key_hash).where(PLATFORM_KEYS.c.key_hash == key_hash)
        with self._database.reading() as db:
            return db.scalar(query) is not None

    def list_platform_keys(self) -> list[PlatformKey]:
        """List the keys, the oldest first."""
        query = _SELECT.order_by(PLATFORM_KEYS.c.created_at_s, PLATFORM_KEYS.c.key_hash)
        return self._database.read_all(PlatformKey, query)

    def revoke_platform_key(self, key: PlatformKey, *, now_s: int) -> bool:
        """Revoke a key from the next request on, and record it. False if it was revoked already."""
        same = PLATFORM_KEYS.c.key_hash == key.key_hash
        with self._database.writing(credentials=True) as db:
            if not db.execute(PLATFORM_KEYS.delete().where(same)).rowcount:
                return False
            entry = {"action": "revoke_key", "subject": key.name, "before": key.id}
            write_entry(db, COMMAND_LINE, now_s=now_s, **entry)
        return True

    def apply_last_used(self, used: Mapping[bytes, int]) -> None:
        """Store when keys were last used: digest -> Unix seconds, never backwards."""
        update = update_last_used(PLATFORM_KEYS.c.key_hash, PLATFORM_KEYS.c.last_used_s)
        # Every writer locks the rows in this order, so that no two deadlock.
        rows = [{"used": key_hash, "used_s": used[key_hash]} for key_hash in sorted(used)]
        if rows:
            with self._database.writing() as db:
                db.execute(update, rows)


_SELECT: Final[sa.Select[Any]] = sa.select(*columns_of(PlatformKey, PLATFORM_KEYS))
