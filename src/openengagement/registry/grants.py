"""What people gave apps: request tokens on their way, and access tokens that live.

Secrets and verifiers pass through here encrypted only.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.schema import (
    ACCESS_TOKENS,
    ACCOUNTS,
    APPS,
    REQUEST_TOKENS,
)

OOB: Final = "oob"  # the callback of an app that cannot be called back: its user carries a PIN


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that an account gave an app."""

    token: str
    app_id: int
    account_id: int
    secret: bytes  # encrypted
    access_level: str = "read"


@dataclass(frozen=True, slots=True)
class RequestToken:
    """A request token (RFC 5849, 2.1). `account_id` and `verifier` are None until authorized."""

    token: str
    app_id: int
    secret: bytes  # encrypted
    callback: str
    access_level: str
    created_at_s: int
    account_id: int | None = None
    verifier: bytes | None = None  # encrypted


@dataclass(frozen=True, slots=True)
class Grant:
    """An app that holds an access token of an account, as the account's owner sees it."""

    app_id: int
    name: str
    website: str | None
    owner: str
    access_level: str
    created_at_s: int
    last_used_s: int | None
    suspended: bool


class Grants:
    """The tokens of the three legs."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    # Request tokens

    def add_request_token(self, token: RequestToken, *, forget_before_s: int) -> None:
        """Keep a new request token, and forget those made before `forget_before_s`."""
        row = {column.name: getattr(token, column.name, 0) for column in REQUEST_TOKENS.c}
        with self._engine.begin() as db:
            old = REQUEST_TOKENS.c.created_at_s < forget_before_s
            db.execute(REQUEST_TOKENS.delete().where(old))
            db.execute(REQUEST_TOKENS.insert().values(row))

    def find_request_token(self, token: str, *, oldest_s: int) -> RequestToken | None:
        """A request token that was made at `oldest_s` or later."""
        live = (REQUEST_TOKENS.c.token == token) & (REQUEST_TOKENS.c.created_at_s >= oldest_s)
        with self._read.connect() as db:
            row = db.execute(_SELECT_REQUEST.where(live)).first()
        return None if row is None else RequestToken(*row)

    def authorize(self, token: str, *, account_id: int, verifier: bytes) -> bool:
        """Note who authorized a request token; False when it is gone, or was authorized before."""
        open_ = (REQUEST_TOKENS.c.token == token) & REQUEST_TOKENS.c.account_id.is_(None)
        values = {"account_id": account_id, "verifier": verifier}
        with self._engine.begin() as db:
            return db.execute(REQUEST_TOKENS.update().where(open_).values(values)).rowcount > 0

    def count_attempt(self, token: str, *, most: int) -> bool:
        """Count a try at a verifier, before it is looked at; False when there were too many."""
        mine = REQUEST_TOKENS.c.token == token
        more = REQUEST_TOKENS.update().values(attempts=REQUEST_TOKENS.c.attempts + 1)
        with self._engine.begin() as db:
            return db.execute(more.where(mine & (REQUEST_TOKENS.c.attempts < most))).rowcount > 0

    def drop_request_token(self, token: str) -> bool:
        """Use a request token up; False when somebody else was first."""
        with self._engine.begin() as db:
            mine = REQUEST_TOKENS.c.token == token
            return db.execute(REQUEST_TOKENS.delete().where(mine)).rowcount > 0

    # Access tokens

    def find_access_token(self, token: str) -> AccessToken | None:
        return self._one(ACCESS_TOKENS.c.token == token)

    def read_access_token(self, *, app_id: int, account_id: int) -> AccessToken | None:
        """The live token that this account gave this app."""
        return self._one(_given(app_id, account_id))

    def add_access_token(self, token: AccessToken, *, now_s: int) -> bool:
        """Keep a new access token; False when the account has given the app one already."""
        try:
            with self._engine.begin() as db:
                db.execute(ACCESS_TOKENS.insert().values(_row(token, now_s)))
        except sa.exc.IntegrityError:
            return False
        return True

    def replace_access_token(self, fresh: AccessToken, *, now_s: int) -> None:
        """Kill the token that this account gave this app, if any, and keep this one instead."""
        with self._engine.begin() as db:
            db.execute(ACCESS_TOKENS.delete().where(_given(fresh.app_id, fresh.account_id)))
            db.execute(ACCESS_TOKENS.insert().values(_row(fresh, now_s)))

    def redeem(self, request_token: str, fresh: AccessToken, *, now_s: int) -> AccessToken | None:
        """Use a request token up for an access token: the live one, or else `fresh`.

        A live one is for what was consented to now. None, nothing changed, when the request token
        is gone: used by somebody quicker, or revoked with all that was on its way.
        """
        mine = _given(fresh.app_id, fresh.account_id)
        with self._engine.begin() as db:
            used = REQUEST_TOKENS.delete().where(REQUEST_TOKENS.c.token == request_token)
            if not db.execute(used).rowcount:
                return None
            level = ACCESS_TOKENS.update().where(mine).values(access_level=fresh.access_level)
            if not db.execute(level).rowcount:
                db.execute(ACCESS_TOKENS.insert().values(_row(fresh, now_s)))
            return AccessToken(*db.execute(_SELECT_TOKEN.where(mine)).one())

    def revoke_access_token(self, *, app_id: int, account_id: int) -> bool:
        """Kill the token that this account gave this app, and what was on its way to be one."""
        pending = (REQUEST_TOKENS.c.app_id == app_id) & (REQUEST_TOKENS.c.account_id == account_id)
        with self._engine.begin() as db:
            db.execute(REQUEST_TOKENS.delete().where(pending))
            done = db.execute(ACCESS_TOKENS.delete().where(_given(app_id, account_id)))
            return done.rowcount > 0

    def list_grants(self, account_id: int) -> list[Grant]:
        """Every app that holds a token of this account, the newest first."""
        query = (
            sa.select(
                APPS.c.id,
                APPS.c.name,
                APPS.c.website,
                ACCOUNTS.c.screen_name,
                ACCESS_TOKENS.c.access_level,
                ACCESS_TOKENS.c.created_at_s,
                ACCESS_TOKENS.c.last_used_s,
                APPS.c.suspended,
            )
            .join(APPS, APPS.c.id == ACCESS_TOKENS.c.app_id)
            .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .where(ACCESS_TOKENS.c.account_id == account_id)
            .order_by(ACCESS_TOKENS.c.created_at_s.desc(), APPS.c.id.desc())
        )
        with self._read.connect() as db:
            return [Grant(*row) for row in db.execute(query)]

    def note_used(self, used: Mapping[str, int]) -> None:
        """Note when access tokens were last used: token -> Unix seconds, never backwards."""
        newer = sa.func.coalesce(ACCESS_TOKENS.c.last_used_s, 0) < sa.bindparam("at_s")
        update = (
            ACCESS_TOKENS.update()
            .where((ACCESS_TOKENS.c.token == sa.bindparam("used")) & newer)
            .values(last_used_s=sa.bindparam("at_s"))
        )
        with self._engine.begin() as db:
            db.execute(update, [{"used": token, "at_s": at_s} for token, at_s in used.items()])

    def _one(self, condition: sa.ColumnElement[bool]) -> AccessToken | None:
        with self._read.connect() as db:
            row = db.execute(_SELECT_TOKEN.where(condition)).first()
        return None if row is None else AccessToken(*row)


def _row(token: AccessToken, now_s: int) -> dict[str, Any]:
    return {**asdict(token), "created_at_s": now_s}


def _given(app_id: int, account_id: int) -> sa.ColumnElement[bool]:
    return (ACCESS_TOKENS.c.app_id == app_id) & (ACCESS_TOKENS.c.account_id == account_id)


_SELECT_TOKEN: Final[sa.Select[Any]] = sa.select(
    ACCESS_TOKENS.c.token,
    ACCESS_TOKENS.c.app_id,
    ACCESS_TOKENS.c.account_id,
    ACCESS_TOKENS.c.secret,
    ACCESS_TOKENS.c.access_level,
)
_SELECT_REQUEST: Final[sa.Select[Any]] = sa.select(
    REQUEST_TOKENS.c.token,
    REQUEST_TOKENS.c.app_id,
    REQUEST_TOKENS.c.secret,
    REQUEST_TOKENS.c.callback,
    REQUEST_TOKENS.c.access_level,
    REQUEST_TOKENS.c.created_at_s,
    REQUEST_TOKENS.c.account_id,
    REQUEST_TOKENS.c.verifier,
)
