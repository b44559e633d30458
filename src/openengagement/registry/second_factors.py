"""Second factors: the secrets of authenticator apps, and recovery codes.

Secrets arrive encrypted and codes hashed. `sign_in.second_factor` makes and verifies them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from openengagement.engagement.permissions import Proof
from openengagement.registry.audit import Actor, write_entry
from openengagement.registry.database import Database, columns_of
from openengagement.registry.schema import ACCOUNTS, RECOVERY_CODES, SECOND_FACTORS, SESSIONS


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """An authenticator app. `last_step` is the time step of the last code that was accepted."""

    secret: bytes
    confirmed_at_s: int | None
    last_step: int


class ProvenSecret(NamedTuple):
    """An encrypted secret, and the time step of the code that proved it."""

    secret: bytes
    step: int


class SecondFactors:
    """The second factors of the registry's accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, account_id: int) -> SecondFactor | None:
        """Return the account's authenticator app, confirmed or not, None if there is none."""
        query = sa.select(*columns_of(SecondFactor, SECOND_FACTORS)).where(_own(account_id))
        return self._database.read_one(SecondFactor, query)

    def confirm(
        self,
        actor: Actor,
        proven: ProvenSecret,
        *,
        code_hashes: Collection[bytes],
        session_id: str,
        now_s: int,
    ) -> bool:
        """Turn on the second factor whose secret the person has proven to have.

        This session counts as signed in with it; every other session of the account ends. False if
        the account has a second factor already, or was erased.
        """
        account_id = _account(actor)
        row = {
            "account_id": account_id,
            "secret": proven.secret,
            "confirmed_at_s": now_s,
            "last_step": proven.step,
        }
        with self._database.writing() as db:
            if not _lock(db, account_id):
                return False
            # Older versions stored a secret before its first code.
            unconfirmed = _own(account_id) & SECOND_FACTORS.c.confirmed_at_s.is_(None)
            db.execute(SECOND_FACTORS.delete().where(unconfirmed))
            if db.scalar(sa.select(sa.exists().where(_own(account_id)))):
                return False
            db.execute(SECOND_FACTORS.insert().values(row))
            rows = [{"account_id": account_id, "code_hash": each} for each in code_hashes]
            db.execute(RECOVERY_CODES.insert(), rows)
            sessions = SESSIONS.c.account_id == account_id
            db.execute(SESSIONS.delete().where(sessions, SESSIONS.c.id != session_id))
            db.execute(SESSIONS.update().where(sessions).values(proof=Proof.CODE))
            _record(db, actor, action="second_factor_on", of=account_id, now_s=now_s)
        return True

    def use_step(self, account_id: int, step: int) -> bool:
        """Accept the code of a time step once. False for this step or an earlier one."""
        newer = _own(account_id) & (SECOND_FACTORS.c.last_step < step)
        return self._database.change(SECOND_FACTORS.update().where(newer).values(last_step=step))

    def use_code(self, account_id: int, code_hash: bytes, *, now_s: int) -> bool:
        """Accept a recovery code once, and record it."""
        own = (RECOVERY_CODES.c.account_id == account_id) & (
            RECOVERY_CODES.c.code_hash == code_hash
        )
        name = sa.select(ACCOUNTS.c.screen_name).where(ACCOUNTS.c.id == account_id)
        with self._database.writing() as db:
            if not db.execute(RECOVERY_CODES.delete().where(own)).rowcount:
                return False
            actor = Actor(db.scalar(name) or "", account_id)
            _record(db, actor, action="recovery_code", of=account_id, now_s=now_s)
        return True

    def count_codes(self, account_id: int) -> int:
        """Count the recovery codes that were not used."""
        codes = sa.select(sa.func.count()).select_from(RECOVERY_CODES)
        with self._database.reading() as db:
            return db.scalar(codes.where(RECOVERY_CODES.c.account_id == account_id)) or 0

    def remove(self, account_id: int, *, actor: Actor, now_s: int) -> bool:
        """Turn off the second factor of an account, and record it. False if it had none."""
        with self._database.writing() as db:
            _lock(db, account_id)
            query = sa.select(SECOND_FACTORS.c.confirmed_at_s).where(_own(account_id))
            confirmed = db.scalar(query)
            db.execute(SECOND_FACTORS.delete().where(_own(account_id)))
            db.execute(RECOVERY_CODES.delete().where(RECOVERY_CODES.c.account_id == account_id))
            if confirmed is None:
                return False
            with_code = (SESSIONS.c.account_id == account_id) & (SESSIONS.c.proof == Proof.CODE)
            db.execute(SESSIONS.update().where(with_code).values(proof=Proof.PASSWORD))
            _record(db, actor, action="second_factor_off", of=account_id, now_s=now_s)
        return True


def _own(account_id: int) -> sa.ColumnElement[bool]:
    return SECOND_FACTORS.c.account_id == account_id


def _account(actor: Actor) -> int:
    assert actor.account_id is not None, "only accounts have second factors"
    return actor.account_id


def _lock(db: sa.Connection, account_id: int) -> bool:
    """Lock the account, so that no sign-in that was checked without the factor ends meanwhile.

    False if there is no such account.
    """
    account = sa.select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account_id)
    return db.scalar(account.with_for_update(key_share=True)) is not None


def _record(db: sa.Connection, actor: Actor, *, action: str, of: int, now_s: int) -> None:
    name = db.scalar(sa.select(ACCOUNTS.c.screen_name).where(ACCOUNTS.c.id == of))
    entry = {"action": action, "subject": name or "", "account_id": of}
    write_entry(db, actor, now_s=now_s, **entry)
