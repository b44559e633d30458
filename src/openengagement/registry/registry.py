"""The registry: accounts, apps, credentials, sessions, usage and decisions in one database.

It receives secrets only encrypted or hashed. `auth.credentials` makes and reads them.
"""

from typing import Final

import sqlalchemy as sa

from openengagement.registry.accounts import Accounts
from openengagement.registry.app_list import AppList
from openengagement.registry.apps import Apps
from openengagement.registry.audit import AuditLog
from openengagement.registry.database import Database
from openengagement.registry.decisions import Decisions
from openengagement.registry.deliveries import Deliveries
from openengagement.registry.grants import Grants
from openengagement.registry.notifications import Notifications
from openengagement.registry.password_resets import PasswordResets
from openengagement.registry.passwords import PasswordHashes
from openengagement.registry.platform_keys import PlatformKeys
from openengagement.registry.removal import Removal
from openengagement.registry.schema import (
    ACCESS_TOKENS,
    ACCOUNTS,
    APPS,
    PLATFORM_KEYS,
    SESSIONS,
    WEBHOOKS,
)
from openengagement.registry.second_factors import SecondFactors
from openengagement.registry.sessions import Sessions
from openengagement.registry.shares import Shares
from openengagement.registry.usage import Usage
from openengagement.registry.webhooks import Webhooks

_CONTENT: Final = (ACCOUNTS, APPS, PLATFORM_KEYS)
_COUNTED: Final = (ACCOUNTS, APPS, ACCESS_TOKENS, SESSIONS, PLATFORM_KEYS, WEBHOOKS)


class Registry:
    """The registry. Each attribute reads and writes one kind of data."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.accounts = Accounts(database)
        self.app_list = AppList(database)
        self.apps = Apps(database)
        self.audit = AuditLog(database)
        self.decisions = Decisions(database)
        self.deliveries = Deliveries(database)
        self.grants = Grants(database)
        self.notifications = Notifications(database)
        self.password_hashes = PasswordHashes(database)
        self.password_resets = PasswordResets(database)
        self.platform_keys = PlatformKeys(database)
        self.removal = Removal(database)
        self.second_factors = SecondFactors(database)
        self.sessions = Sessions(database)
        self.shares = Shares(database)
        self.usage = Usage(database)
        self.webhooks = Webhooks(database)

    def is_empty(self) -> bool:
        """Whether it has no account, app or platform key yet."""
        with self.database.reading() as db:
            rows = (db.scalar(sa.select(sa.exists(sa.select(table)))) for table in _CONTENT)
            return not any(rows)

    def count(self) -> dict[str, int]:
        """Count the rows of each kind that an operator knows."""
        with self.database.reading() as db:
            counts = {
                table.name: db.scalar(sa.select(sa.func.count()).select_from(table)) or 0
                for table in _COUNTED
            }
        return counts | self.deliveries.count()

    def close(self) -> None:
        """Close the database."""
        self.database.close()
