"""Where the registry keeps encrypted secrets, and how they all change keys."""

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
_SLICE: Final = 200  # rows changed in one transaction, so that nobody waits long behind it
# What a change of one secret gives: it anew, or None where it does not open.
Change = Callable[[bytes], bytes | None]


def reencrypt(engine: sa.Engine, change: Change) -> tuple[int, int]:
    """Replace every encrypted secret by `change` of it; returns how many, and how many do not open.

    In slices: a secret under the old key is as good as one under the new while both are known.
    """
    changed, lost = 0, 0
    for column in COLUMNS:
        (key,) = column.table.primary_key.columns
        with engine.connect() as db:
            keys = list(db.scalars(sa.select(key).where(column.is_not(None))))
        for start in range(0, len(keys), _SLICE):
            some = keys[start : start + _SLICE]
            with engine.begin() as db:
                good, bad = _change_some(db, column, keys=some, change=change)
            changed += good
            lost += bad
    return changed, lost


def _change_some(
    db: sa.Connection, column: sa.Column[bytes], *, keys: list[object], change: Change
) -> tuple[int, int]:
    table = column.table
    (key,) = table.primary_key.columns
    rows = db.execute(sa.select(key, column).where(key.in_(keys) & column.is_not(None))).all()
    anew = [(row[0], change(row[1])) for row in rows]
    good = [{"row": row, "new": secret} for row, secret in anew if secret is not None]
    if good:
        update = sa.update(table).where(key == sa.bindparam("row"))
        db.execute(update.values({column.name: sa.bindparam("new")}), good)
    return len(good), len(anew) - len(good)


def kill_bearers(engine: sa.Engine) -> None:
    """Kill every bearer token, as when the keys that they are derived from are known to others."""
    with engine.begin() as db:
        next_one = APPS.c.bearer_generation + 1
        db.execute(APPS.update().values(bearer_generation=next_one, bearer_hash=None))
