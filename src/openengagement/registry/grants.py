"""The tokens that people give to apps: request tokens and access tokens.

Secrets and verifiers pass through here only encrypted.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import AccessLevel
from openengagement.registry.apps import AppRemoved
from openengagement.registry.database import (
    Database,
    columns_of,
    delete_expired,
    slices,
    update_last_used,
)
from openengagement.registry.schema import ACCESS_TOKENS, ACCOUNTS, APPS, REQUEST_TOKENS

OOB: Final = "oob"  # the callback of an app without one: its user copies a PIN
_SLICE: Final = 500  # tokens in one transaction


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that an account gave an app."""

    token: str
    app_id: int
    account_id: int
    secret: bytes  # encrypted
    access_level: AccessLevel = AccessLevel.READ


@dataclass(frozen=True, slots=True)
class RequestToken:
    """A request token (RFC 5849, 2.1). `account_id` and `verifier` are None until authorized."""

    token: str
    app_id: int
    secret: bytes  # encrypted
    callback: str
    access_level: AccessLevel
    created_at_s: int
    account_id: int | None = None
    verifier: bytes | None = None  # encrypted


@dataclass(frozen=True, slots=True)
class ListedToken:
    """An access token as an operator sees it, without its text and its secret."""

    app_id: int
    app: str
    account_id: int
    account: str
    access_level: AccessLevel
    created_at_s: int
    last_used_s: int | None


@dataclass(frozen=True, slots=True)
class Grant:
    """An app that holds an access token of an account, as the account's owner sees it."""

    app_id: int
    name: str
    website: str | None
    owner: str
    access_level: AccessLevel
    created_at_s: int
    last_used_s: int | None
    suspended: bool


class Grants:
    """The request tokens and access tokens of the registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # No cache holds request tokens. Each step is one atomic statement, or runs under the credential
    # lock. If it changes a row, no other call was first.

    def add_request_token(self, token: RequestToken, *, forget_before_s: int) -> None:
        """Store a new request token, and delete those made before `forget_before_s`.

        Raises:
            AppRemoved
        """
        row = {column.name: getattr(token, column.name, 0) for column in REQUEST_TOKENS.c}
        try:
            with self._database.writing() as db:
                delete_expired(db, REQUEST_TOKENS, before_s=forget_before_s)
                db.execute(REQUEST_TOKENS.insert().values(row))
        except sa.exc.IntegrityError:  # the foreign key
            raise AppRemoved from None

    def find_request_token(self, token: str, *, oldest_s: int) -> RequestToken | None:
        """Return a request token that was made at `oldest_s` or later."""
        query = sa.select(*columns_of(RequestToken, REQUEST_TOKENS)).where(
            REQUEST_TOKENS.c.token == token, REQUEST_TOKENS.c.created_at_s >= oldest_s
        )
        return self._database.read_one(RequestToken, query)

    def authorize(self, token: str, *, account_id: int, verifier: bytes) -> bool:
        """Store who authorized a request token.

        False if it was deleted or authorized before, or if the account was erased.
        """
        pending = (REQUEST_TOKENS.c.token == token) & REQUEST_TOKENS.c.account_id.is_(None)
        values = {"account_id": account_id, "verifier": verifier}
        try:
            return self._database.change(REQUEST_TOKENS.update().where(pending).values(values))
        except sa.exc.IntegrityError:  # the foreign key
            return False

    def count_attempt(self, token: str, *, attempts_max: int) -> bool:
        """Count an attempt at the verifier, before comparing it. False if there were too many."""
        allowed = (REQUEST_TOKENS.c.token == token) & (REQUEST_TOKENS.c.attempts < attempts_max)
        counted = REQUEST_TOKENS.update().values(attempts=REQUEST_TOKENS.c.attempts + 1)
        return self._database.change(counted.where(allowed))

    def drop_request_token(self, token: str) -> bool:
        """Delete a request token. False if another request has used or deleted it."""
        return self._database.change(REQUEST_TOKENS.delete().where(REQUEST_TOKENS.c.token == token))

    # Access tokens

    def find_access_token(self, token: str) -> AccessToken | None:
        """Return a live access token by its text."""
        return self._read_one(ACCESS_TOKENS.c.token == token)

    def read_access_token(self, *, app_id: int, account_id: int) -> AccessToken | None:
        """Return the live token that this account gave this app."""
        return self._read_one(_given(app_id, account_id))

    def add_access_token(self, token: AccessToken, *, now_s: int) -> bool:
        """Store a new access token. False if the account has given the app one already.

        Raises:
            AppRemoved: the app was removed, or the account was erased.
        """
        try:
            with self._database.writing(credentials=True) as db:
                _refuse_removed(db, token)
                _insert(db, token, now_s=now_s)
        except sa.exc.IntegrityError:
            return False
        return True

    def replace_access_token(self, token: AccessToken, *, now_s: int) -> None:
        """Revoke the token that this account gave this app, if any, and store this one instead.

        Raises:
            AppRemoved: the app was removed, or the account was erased.
        """
        # Relies on the credential lock (Database.writing): no other writer stores a token between
        # the deletion and the insert.
        with self._database.writing(credentials=True) as db:
            _refuse_removed(db, token)
            db.execute(ACCESS_TOKENS.delete().where(_given(token.app_id, token.account_id)))
            _insert(db, token, now_s=now_s)

    def redeem(self, request_token: str, token: AccessToken, *, now_s: int) -> AccessToken | None:
        """Exchange a request token for the live access token, or for `token` if there is none.

        A live token gets the access level of `token`, to which the user has consented now. Returns
        None, and changes nothing, if the request token was used or revoked meanwhile.
        """
        given = _given(token.app_id, token.account_id)
        # Relies on the credential lock: no other writer stores a token between update and insert.
        with self._database.writing(credentials=True) as db:
            used = REQUEST_TOKENS.delete().where(REQUEST_TOKENS.c.token == request_token)
            if not db.execute(used).rowcount:
                return None
            level = ACCESS_TOKENS.update().where(given).values(access_level=token.access_level)
            if not db.execute(level).rowcount:
                _insert(db, token, now_s=now_s)
            return AccessToken(**db.execute(_SELECT_TOKEN.where(given)).mappings().one())

    def revoke_access_token(self, *, app_id: int, account_id: int) -> bool:
        """Revoke the token that this account gave this app, and authorized request tokens."""
        pending = (REQUEST_TOKENS.c.app_id == app_id) & (REQUEST_TOKENS.c.account_id == account_id)
        with self._database.writing(credentials=True) as db:
            db.execute(REQUEST_TOKENS.delete().where(pending))
            revoked = db.execute(ACCESS_TOKENS.delete().where(_given(app_id, account_id)))
            return revoked.rowcount > 0

    def list_grants(self, account_id: int) -> list[Grant]:
        """List the apps that hold a token of this account, the newest token first."""
        query = (
            sa.select(
                *columns_of(Grant, ACCESS_TOKENS),
                *(APPS.c.name, APPS.c.website, APPS.c.suspended),
                ACCOUNTS.c.screen_name.label("owner"),
            )
            .join(APPS, APPS.c.id == ACCESS_TOKENS.c.app_id)
            .join(ACCOUNTS, ACCOUNTS.c.id == APPS.c.owner_id)
            .where(ACCESS_TOKENS.c.account_id == account_id)
            .order_by(ACCESS_TOKENS.c.created_at_s.desc(), APPS.c.id.desc())
        )
        return self._database.read_all(Grant, query)

    def list_tokens(
        self, *, app_id: int | None = None, account_id: int | None = None
    ) -> list[ListedToken]:
        """List the access tokens, of one app or account if given, by app and account."""
        query: sa.Select[Any] = (
            sa.select(
                *columns_of(ListedToken, ACCESS_TOKENS),
                APPS.c.name.label("app"),
                ACCOUNTS.c.screen_name.label("account"),
            )
            .join(APPS, APPS.c.id == ACCESS_TOKENS.c.app_id)
            .join(ACCOUNTS, ACCOUNTS.c.id == ACCESS_TOKENS.c.account_id)
            .order_by(ACCESS_TOKENS.c.app_id, ACCOUNTS.c.screen_name_key)
        )
        if app_id is not None:
            query = query.where(ACCESS_TOKENS.c.app_id == app_id)
        if account_id is not None:
            query = query.where(ACCESS_TOKENS.c.account_id == account_id)
        return self._database.read_all(ListedToken, query)

    def apply_last_used(self, used: Mapping[str, int]) -> None:
        """Store when access tokens were last used: token -> Unix seconds, never backwards."""
        update = update_last_used(ACCESS_TOKENS.c.token, ACCESS_TOKENS.c.last_used_s)
        tokens = sorted(used)
        locked = sa.select(ACCESS_TOKENS.c.token).order_by(ACCESS_TOKENS.c.token).with_for_update()
        for some in slices(tokens, _SLICE):
            with self._database.writing() as db:
                # All transactions that change several tokens lock them in this order, so that no
                # two of them deadlock.
                live = db.scalars(locked.where(ACCESS_TOKENS.c.token.in_(some))).all()
                if live:
                    db.execute(update, [{"used": token, "used_s": used[token]} for token in live])

    def _read_one(self, condition: sa.ColumnElement[bool]) -> AccessToken | None:
        return self._database.read_one(AccessToken, _SELECT_TOKEN.where(condition))


_SELECT_TOKEN: Final[sa.Select[Any]] = sa.select(*columns_of(AccessToken, ACCESS_TOKENS))


def _insert(db: sa.Connection, token: AccessToken, *, now_s: int) -> None:
    db.execute(ACCESS_TOKENS.insert().values({**asdict(token), "created_at_s": now_s}))


def _refuse_removed(db: sa.Connection, token: AccessToken) -> None:
    """Refuse a token whose app or account was removed. The caller holds the credential lock."""
    for table, number in ((APPS, token.app_id), (ACCOUNTS, token.account_id)):
        if not db.scalar(sa.select(sa.exists().where(table.c.id == number))):
            raise AppRemoved


def _given(app_id: int, account_id: int) -> sa.ColumnElement[bool]:
    return (ACCESS_TOKENS.c.app_id == app_id) & (ACCESS_TOKENS.c.account_id == account_id)
