"""Where the registry keeps encrypted secrets, and how all of them change keys at once."""

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from openengagement.registry.schema import ACCESS_TOKENS, APPS, REQUEST_TOKENS

COLUMNS: Final = (
    APPS.c.consumer_secret,
    ACCESS_TOKENS.c.secret,
    REQUEST_TOKENS.c.secret,
    REQUEST_TOKENS.c.verifier,
)


def reencrypt(engine: sa.Engine, change: Callable[[bytes], bytes], *, kill_bearers: bool) -> int:
    """Replace every encrypted secret by `change` of it, all or none; returns how many there were.

    With `kill_bearers` every bearer token dies: they are derived from the keys.
    """
    with engine.begin() as db:
        number = sum(_reencrypt_column(db, column, change=change) for column in COLUMNS)
        if kill_bearers:
            next_one = APPS.c.bearer_generation + 1
            db.execute(APPS.update().values(bearer_generation=next_one, bearer_hash=None))
    return number


def _reencrypt_column(
    db: sa.Connection, column: sa.Column[bytes], *, change: Callable[[bytes], bytes]
) -> int:
    table = column.table
    (key,) = table.primary_key.columns
    rows = db.execute(sa.select(key, column).where(column.is_not(None))).all()
    changed = [{"row": row[0], "new": change(row[1])} for row in rows]
    if changed:
        update = sa.update(table).where(key == sa.bindparam("row"))
        db.execute(update.values({column.name: sa.bindparam("new")}), changed)
    return len(changed)
