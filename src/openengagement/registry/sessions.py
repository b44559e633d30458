"""The sessions of people who are signed in to the pages."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from openengagement.engagement.permissions import Proof, Role
from openengagement.registry.database import Database, columns_of, delete_expired
from openengagement.registry.schema import ACCOUNTS, SECOND_FACTORS, SESSIONS

_SESSIONS_MAX: Final = 50  # of one account
_LAST_SEEN_STEP_S: Final = 300  # `last_seen_s` is stored at most this often


@dataclass(frozen=True, slots=True)
class Session:
    """A person signed in with one browser. `id` names the session and does not authenticate."""

    id: str
    account_id: int
    screen_name: str
    role: Role
    created_at_s: int
    last_seen_s: int
    browser: str
    proof: Proof = Proof.PASSWORD

    @property
    def is_manager(self) -> bool:
        """Whether the person may decide about apps."""
        return self.role == Role.MANAGER

    def without_role(self) -> "Session":
        """Return this session as a member's, after its account has stopped being a manager."""
        return replace(self, role=Role.MEMBER)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to begin. `secret_hash` is the SHA-256 digest of the secret in its cookie."""

    id: str
    secret_hash: bytes
    account_id: int
    browser: str
    created_at_s: int
    proof: Proof = Proof.PASSWORD


class PasswordChanged(Exception):
    """What a person proved does not suffice any more.

    The account has another password by now, has turned on a second factor, or was erased.
    """


class Sessions:
    """The sessions of the registry, by the SHA-256 digest of their secret."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_session(self, new: NewSession, *, password_hash: str | None = None) -> None:
        """Begin a session. If the account then has too many, end the least recently seen.

        `password_hash` is that of the password with which the person signed in, if with one.

        Raises:
            PasswordChanged: the account has another password by now, has a second factor that the
                person did not prove, or was erased.
        """
        same_account = SESSIONS.c.account_id == new.account_id
        seen_last = sa.select(SESSIONS.c.id).where(same_account)
        seen_last = seen_last.order_by(SESSIONS.c.last_seen_s.desc()).limit(_SESSIONS_MAX - 1)
        account = sa.select(ACCOUNTS.c.password_hash).where(ACCOUNTS.c.id == new.account_id)
        with self._database.writing() as db:
            # Lock the account, or two sign-ins at the same time could keep one session too many.
            # A change of the password locks it too, and then ends the sessions that it finds.
            current = db.execute(account.with_for_update(key_share=True)).first()
            if current is None or password_hash not in {None, current.password_hash}:
                raise PasswordChanged
            if new.proof is Proof.PASSWORD and password_hash and _has_factor(db, new.account_id):
                raise PasswordChanged
            db.execute(SESSIONS.delete().where(same_account, SESSIONS.c.id.not_in(seen_last)))
            row = {**asdict(new), "last_seen_s": new.created_at_s}
            db.execute(SESSIONS.insert().values(row))

    def find_session(self, secret_hash: bytes, *, oldest_s: int, now_s: int) -> Session | None:
        """Return the session of this secret if it began at `oldest_s` or later. Store the visit."""
        same = SESSIONS.c.secret_hash == secret_hash
        query = _SELECT.where(same, SESSIONS.c.created_at_s >= oldest_s)
        session = self._database.read_one(Session, query)
        if session and now_s - session.last_seen_s >= _LAST_SEEN_STEP_S:
            self._database.change(SESSIONS.update().where(same).values(last_seen_s=now_s))
        return session

    def list_sessions(self, account_id: int, *, oldest_s: int) -> list[Session]:
        """List the sessions of an account that began at `oldest_s` or later, last seen first."""
        live = (SESSIONS.c.account_id == account_id) & (SESSIONS.c.created_at_s >= oldest_s)
        query = _SELECT.where(live).order_by(SESSIONS.c.last_seen_s.desc())
        return self._database.read_all(Session, query)

    def end_session(self, session_id: str, *, account_id: int) -> bool:
        """End a session of this account. False if there is none."""
        found = (SESSIONS.c.id == session_id) & (SESSIONS.c.account_id == account_id)
        return self._database.change(SESSIONS.delete().where(found))

    def end_before(self, oldest_s: int) -> None:
        """End the sessions of all accounts that began before `oldest_s`."""
        with self._database.writing() as db:
            delete_expired(db, SESSIONS, before_s=oldest_s)


def _has_factor(db: sa.Connection, account_id: int) -> bool:
    confirmed = SECOND_FACTORS.c.confirmed_at_s.is_not(None)
    own = SECOND_FACTORS.c.account_id == account_id
    return bool(db.scalar(sa.select(sa.exists().where(own, confirmed))))


_SELECT: Final[sa.Select[Any]] = sa.select(
    *columns_of(Session, SESSIONS), ACCOUNTS.c.screen_name, ACCOUNTS.c.role
).join(ACCOUNTS, ACCOUNTS.c.id == SESSIONS.c.account_id)
