"""Re-encrypt the stored secrets, after the server's keys were rotated."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from openengagement.registry.database import Database, slices
from openengagement.registry.schema import (
    ACCESS_TOKENS,
    APPS,
    REQUEST_TOKENS,
    SECOND_FACTORS,
    WEBHOOKS,
)

COLUMNS: Final = (
    APPS.c.consumer_secret,
    ACCESS_TOKENS.c.secret,
    REQUEST_TOKENS.c.secret,
    REQUEST_TOKENS.c.verifier,
    WEBHOOKS.c.secret,
    WEBHOOKS.c.old_secret,
    SECOND_FACTORS.c.secret,
)
_SLICE: Final = 200  # rows changed in one transaction, so that no other writer waits for long
_SAMPLE_MAX: Final = 1000
# A stored secret -> the same secret under the newest key, or None if no known key decrypts it.
Reencrypt = Callable[[bytes], bytes | None]


def sample_secrets(database: Database) -> Iterator[bytes]:
    """Yield stored secrets, at most `_SAMPLE_MAX` of each kind."""
    for column in COLUMNS:
        query = sa.select(column).where(column.is_not(None)).limit(_SAMPLE_MAX)
        with database.reading() as db:
            yield from db.scalars(query)


def reencrypt_secrets(database: Database, reencrypt: Reencrypt) -> tuple[int, int]:
    """Re-encrypt every stored secret, in slices. Meanwhile the server needs the old and new keys.

    Returns the number of secrets that were re-encrypted, and of those that no known key decrypts.
    """
    changed, unreadable = 0, 0
    for column in COLUMNS:
        (key,) = column.table.primary_key.columns
        with database.reading() as db:
            keys = list(db.scalars(sa.select(key).where(column.is_not(None)).order_by(key)))
        for some in slices(keys, _SLICE):
            good, bad = _reencrypt_slice(database, column, keys=some, reencrypt=reencrypt)
            changed += good
            unreadable += bad
    return changed, unreadable


def _reencrypt_slice(
    database: Database, column: sa.Column[bytes], *, keys: Sequence[object], reencrypt: Reencrypt
) -> tuple[int, int]:
    (key,) = column.table.primary_key.columns
    with database.writing(credentials=True) as db:
        query = sa.select(key, column).where(key.in_(keys), column.is_not(None)).order_by(key)
        found = [(row[0], row[1], reencrypt(row[1])) for row in db.execute(query)]
        rows = [{"row": row, "old": old, "new": new} for row, old, new in found if new is not None]
        if rows:
            # Compares and swaps, so that it never overwrites a secret that was rotated meanwhile.
            same = (key == sa.bindparam("row")) & (column == sa.bindparam("old"))
            update = sa.update(column.table).where(same)
            db.execute(update.values({column.name: sa.bindparam("new")}), rows)
    return len(rows), len(found) - len(rows)
