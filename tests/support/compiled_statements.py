"""Engines of SQLite that share their compiled statements.

Hundreds of tests open a registry of their own, and so does each command that runs in this process.
A new engine would compile the same statements again, a third of the time of a command.
"""

from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine import Engine
from sqlalchemy.util import LRUCache, immutabledict

STATEMENTS_MAX = 2000


def share_compiled_statements() -> None:
    """Give all engines of this process one cache, whose keys name the dialect and the statement.

    All dialects of SQLite compile alike, so they are equal here.
    """
    Engine._execution_options = immutabledict(compiled_cache=LRUCache(STATEMENTS_MAX))
    SQLiteDialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[assignment]
    SQLiteDialect.__hash__ = lambda self: hash(type(self))  # type: ignore[assignment]
