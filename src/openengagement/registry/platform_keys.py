"""The platform's own keys, which let it send events and register accounts and Tweets."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.audit import COMMAND_LINE, Actor, write_entry
from openengagement.registry.database import Database, columns_of, update_last_used
from openengagement.registry.decisions import check_manager
from openengagement.registry.schema import PLATFORM_KEYS

NAME_LENGTH_MAX: Final = 128


class Scope(StrEnum):
    """What a platform key may be for (api.md 4.3)."""

    EVENTS = "events"  # send events, register and delete Tweets
    ACCOUNTS = "accounts"  # register and erase accounts
    USAGE = "usage"  # read the usage


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key that was issued. Several keys may have the same name.

    `scopes` are separated by spaces; None stands for all. After `expires_at_s` it is refused.
    """

    key_hash: bytes
    name: str
    created_at_s: int
    last_used_s: int | None = None
    scopes: str | None = None
    expires_at_s: int | None = None

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has this scope."""
        return self.scopes is None or scope in self.scopes.split()

    def is_expired(self, now_s: float) -> bool:
        """Return whether the time of the key is over."""
        return self.expires_at_s is not None and now_s >= self.expires_at_s

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name the key and do not authenticate."""
        return key_id_of(self.key_hash)


def is_key_name(name: str) -> bool:
    """Whether a name has 1 to NAME_LENGTH_MAX printable characters and no space at its ends."""
    return 1 <= len(name) <= NAME_LENGTH_MAX and name.isprintable() and name == name.strip()


def key_id_of(key_hash: bytes) -> str:
    """Return the id of the key with this digest."""
    return key_hash.hex()[:12]


class PlatformKeys:
    """The platform keys of the registry, by their SHA-256 digest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_platform_key(self, key: PlatformKey, *, actor: Actor = COMMAND_LINE) -> None:
        """Store a new key, and record it. Only people read its name.

        Raises:
            NotManager: the actor is not a manager.
        """
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            db.execute(PLATFORM_KEYS.insert().values(asdict(key)))
            entry = {"action": "issue_key", "subject": key.name, "before": key.id}
            write_entry(db, actor, now_s=key.created_at_s, **entry)

    def find_platform_key(self, key_hash: bytes) -> PlatformKey | None:
        """Return the key with this digest, None if none was issued or it was revoked."""
        query = _SELECT.where(PLATFORM_KEYS.c.key_hash == key_hash)
        return self._database.read_one(PlatformKey, query)

    def list_platform_keys(self) -> list[PlatformKey]:
        """List the keys, the oldest first."""
        query = _SELECT.order_by(PLATFORM_KEYS.c.created_at_s, PLATFORM_KEYS.c.key_hash)
        return self._database.read_all(PlatformKey, query)

    def revoke_platform_key(
        self, key: PlatformKey, *, now_s: int, actor: Actor = COMMAND_LINE
    ) -> bool:
        """Revoke a key from the next request on, and record it. False if it was revoked already.

        Raises:
            NotManager: the actor is not a manager.
        """
        same = PLATFORM_KEYS.c.key_hash == key.key_hash
        with self._database.writing(credentials=True) as db:
            check_manager(db, actor)
            if not db.execute(PLATFORM_KEYS.delete().where(same)).rowcount:
                return False
            entry = {"action": "revoke_key", "subject": key.name, "before": key.id}
            write_entry(db, actor, now_s=now_s, **entry)
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
