"""Who is signed in to the pages, and with which password one may."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from openengagement.registry.schema import ACCESS_TOKENS, ACCOUNTS, REQUEST_TOKENS, SESSIONS

_MOST: Final = 50  # sessions of one account
_SEEN_EVERY_S: Final = 300  # how exactly it is known when a session was last seen


@dataclass(frozen=True, slots=True)
class Session:
    """A person signed in at one browser. `id` names the session and opens nothing."""

    id: str
    account_id: int
    screen_name: str
    role: str
    created_at_s: int
    last_seen_s: int
    browser: str


class Sessions:
    """Sessions and password hashes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._read = engine.execution_options(isolation_level="AUTOCOMMIT")

    def add(
        self, session_id: str, secret_hash: bytes, *, account_id: int, browser: str, now_s: int
    ) -> None:
        """Begin a session; of too many of one account the one seen longest ago ends."""
        row = {
            "secret_hash": secret_hash,
            "id": session_id,
            "account_id": account_id,
            "created_at_s": now_s,
            "last_seen_s": now_s,
            "browser": browser,
        }
        mine = SESSIONS.c.account_id == account_id
        newest = sa.select(SESSIONS.c.id).where(mine).order_by(SESSIONS.c.last_seen_s.desc())
        with self._engine.begin() as db:
            db.execute(
                SESSIONS.delete().where(mine & SESSIONS.c.id.not_in(newest.limit(_MOST - 1)))
            )
            db.execute(SESSIONS.insert().values(row))

    def find(self, secret_hash: bytes, *, oldest_s: int, now_s: int) -> Session | None:
        """The session of this secret, begun at `oldest_s` or later; notes that it was seen."""
        mine = SESSIONS.c.secret_hash == secret_hash
        query = _SELECT.where(mine & (SESSIONS.c.created_at_s >= oldest_s))
        with self._read.connect() as db:
            row = db.execute(query).first()
        if row is None:
            return None
        session = Session(*row)
        if now_s - session.last_seen_s >= _SEEN_EVERY_S:
            with self._engine.begin() as db:
                db.execute(SESSIONS.update().where(mine).values(last_seen_s=now_s))
        return session

    def list(self, account_id: int, *, oldest_s: int) -> list[Session]:
        """The live sessions of an account, the last seen first."""
        live = (SESSIONS.c.account_id == account_id) & (SESSIONS.c.created_at_s >= oldest_s)
        with self._read.connect() as db:
            rows = db.execute(_SELECT.where(live).order_by(SESSIONS.c.last_seen_s.desc()))
            return [Session(*row) for row in rows]

    def end(self, session_id: str, *, account_id: int) -> bool:
        """End a session of this account."""
        mine = (SESSIONS.c.id == session_id) & (SESSIONS.c.account_id == account_id)
        with self._engine.begin() as db:
            return db.execute(SESSIONS.delete().where(mine)).rowcount > 0

    def forget_before(self, oldest_s: int) -> None:
        """Drop sessions begun before `oldest_s`."""
        with self._engine.begin() as db:
            db.execute(SESSIONS.delete().where(SESSIONS.c.created_at_s < oldest_s))

    def password_hash(self, account_id: int) -> str | None:
        """The Argon2id hash of the account's password, None when it has none."""
        query = sa.select(ACCOUNTS.c.password_hash).where(ACCOUNTS.c.id == account_id)
        with self._read.connect() as db:
            found: str | None = db.scalar(query)
        return found

    def known_as(self, screen_name: str) -> str:
        """Whom a browser that signed in is known to: an account and its present password's hash.

        Another password makes it another text, so that what was proven of the old one ends. Empty
        where there is no such account.
        """
        mine = ACCOUNTS.c.screen_name_key == screen_name.casefold()
        with self._read.connect() as db:
            row = db.execute(sa.select(ACCOUNTS.c.id, ACCOUNTS.c.password_hash).where(mine)).first()
        return f"{row[0]}:{row[1]}" if row else ""

    def rehash_password(self, account_id: int, *, old: str, new: str) -> None:
        """Keep another hash of the same password."""
        same = (ACCOUNTS.c.id == account_id) & (ACCOUNTS.c.password_hash == old)
        with self._engine.begin() as db:
            db.execute(ACCOUNTS.update().where(same).values(password_hash=new))

    def set_password(self, account_id: int, *, password_hash: str) -> int:
        """Set a password; returns how many access tokens died of it.

        A changed one ends all sessions and kills all access tokens (api.md 4.6), because whoever
        knew the old one may have made them.
        """
        mine = ACCOUNTS.c.id == account_id
        with self._engine.begin() as db:
            old = db.scalar(sa.select(ACCOUNTS.c.password_hash).where(mine))
            db.execute(ACCOUNTS.update().where(mine).values(password_hash=password_hash))
            if old is None:
                return 0
            for table in (SESSIONS, REQUEST_TOKENS):
                db.execute(table.delete().where(table.c.account_id == account_id))
            killed = ACCESS_TOKENS.delete().where(ACCESS_TOKENS.c.account_id == account_id)
            return db.execute(killed).rowcount


_SELECT: Final[sa.Select[Any]] = sa.select(
    SESSIONS.c.id,
    SESSIONS.c.account_id,
    ACCOUNTS.c.screen_name,
    ACCOUNTS.c.role,
    SESSIONS.c.created_at_s,
    SESSIONS.c.last_seen_s,
    SESSIONS.c.browser,
).join(ACCOUNTS, ACCOUNTS.c.id == SESSIONS.c.account_id)
