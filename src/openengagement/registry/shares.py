"""Shares: accounts (owners) that let other accounts (viewers) see their figures on the pages.

No cache holds a share. Each page reads it, so a revoked share ends with the next request.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.audit import Actor, write_entry
from openengagement.registry.database import Database, columns_of
from openengagement.registry.schema import ACCOUNTS, SHARES

SHARED_WITH_ONE_MAX: Final = 500  # owners whose figures one viewer sees
_USED_STEP_S: Final = 300  # `last_used_s` is stored at most this often


class Refused(Enum):
    """Why figures cannot be shared with an account."""

    UNKNOWN = "no account has this screen name"
    SELF = "it is the owner's own account"
    TOO_MANY = "the owner shares with the maximum number of accounts"
    FULL = "the viewer sees the figures of the maximum number of accounts"


class ShareRefused(Exception):
    """The figures are not shared with this account; `reason` says why."""

    def __init__(self, reason: Refused) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Share:
    """A share, as one side of it sees it. `account_id` and `screen_name` are the other side."""

    account_id: int
    screen_name: str
    created_at_s: int
    last_used_s: int | None


class Shares:
    """The shares of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, owner: Actor, screen_name: str, *, most: int, now_s: int) -> str:
        """Let the account with this screen name see the owner's figures. Return its name.

        The owner may have `most` viewers. To share again with the same account changes nothing.

        Raises:
            ShareRefused
        """
        owner_id = _id_of(owner)
        with self._database.writing() as db:
            key = screen_name.casefold()
            viewer_id = db.scalar(sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.screen_name_key == key))
            if viewer_id is None:
                raise ShareRefused(Refused.UNKNOWN)
            if viewer_id == owner_id:
                raise ShareRefused(Refused.SELF)
            name = _lock(db, owner_id, viewer_id=viewer_id)
            if db.scalar(sa.select(sa.exists().where(_between(owner_id, viewer_id)))):
                return name
            _check_limits(db, owner_id, viewer_id=viewer_id, most=most)
            row = {"owner_id": owner_id, "viewer_id": viewer_id, "created_at_s": now_s}
            db.execute(SHARES.insert().values(row))
            entry = {"action": "share", "subject": name, "account_id": viewer_id}
            write_entry(db, owner, now_s=now_s, **entry)
        return name

    def end(self, actor: Actor, *, owner_id: int, viewer_id: int, now_s: int) -> bool:
        """End a share. The actor is one side of it. Return whether there was one."""
        other_id, action = (
            (viewer_id, "unshare") if actor.account_id == owner_id else (owner_id, "leave_share")
        )
        with self._database.writing() as db:
            if not db.execute(SHARES.delete().where(_between(owner_id, viewer_id))).rowcount:
                return False
            name = sa.select(ACCOUNTS.c.screen_name).where(ACCOUNTS.c.id == other_id)
            entry = {"action": action, "subject": db.scalar(name), "account_id": other_id}
            write_entry(db, actor, now_s=now_s, **entry)
        return True

    def use(self, *, owner_id: int, viewer_id: int, now_s: int) -> Share | None:
        """Return a share as its viewer sees it, None if there is none. Store its use."""
        same = _between(owner_id, viewer_id)
        share = self._database.read_one(Share, _seen(SHARES.c.owner_id).where(same))
        if share and now_s - (share.last_used_s or 0) >= _USED_STEP_S:
            self._database.change(SHARES.update().where(same).values(last_used_s=now_s))
        return share

    def list_viewers(self, owner_id: int) -> list[Share]:
        """List the accounts that see this account's figures, by screen name."""
        query = _seen(SHARES.c.viewer_id).where(SHARES.c.owner_id == owner_id)
        return self._database.read_all(Share, query)

    def list_owners(self, viewer_id: int, *, limit: int = SHARED_WITH_ONE_MAX) -> list[Share]:
        """List the accounts whose figures this account sees, by screen name."""
        query = _seen(SHARES.c.owner_id).where(SHARES.c.viewer_id == viewer_id)
        return self._database.read_all(Share, query.limit(limit))


def _seen(side: sa.Column[int]) -> sa.Select[Any]:
    """Select shares with the account on one side of them."""
    account = (side.label("account_id"), ACCOUNTS.c.screen_name)
    query = sa.select(*account, *columns_of(Share, SHARES)).join(ACCOUNTS, ACCOUNTS.c.id == side)
    return query.order_by(ACCOUNTS.c.screen_name_key)


def _lock(db: sa.Connection, owner_id: int, *, viewer_id: int) -> str:
    """Lock both accounts, so that the limits hold for shares added at the same time.

    Returns the viewer's screen name.

    Raises:
        ShareRefused: one of the accounts was erased meanwhile.
    """
    query = sa.select(ACCOUNTS.c.id, ACCOUNTS.c.screen_name)
    query = query.where(ACCOUNTS.c.id.in_([owner_id, viewer_id])).order_by(ACCOUNTS.c.id)
    names = {row.id: row.screen_name for row in db.execute(query.with_for_update(key_share=True))}
    if not names.keys() >= {owner_id, viewer_id}:
        raise ShareRefused(Refused.UNKNOWN)
    name: str = names[viewer_id]
    return name


def _check_limits(db: sa.Connection, owner_id: int, *, viewer_id: int, most: int) -> None:
    for side, limit, reason in (
        (SHARES.c.owner_id == owner_id, most, Refused.TOO_MANY),
        (SHARES.c.viewer_id == viewer_id, SHARED_WITH_ONE_MAX, Refused.FULL),
    ):
        count = sa.select(sa.func.count()).select_from(SHARES).where(side)
        if (db.scalar(count) or 0) >= limit:
            raise ShareRefused(reason)


def _between(owner_id: int, viewer_id: int) -> sa.ColumnElement[bool]:
    return (SHARES.c.owner_id == owner_id) & (SHARES.c.viewer_id == viewer_id)


def _id_of(owner: Actor) -> int:
    assert owner.account_id is not None, "only accounts share figures"
    return owner.account_id
