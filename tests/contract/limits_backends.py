"""The limits that the suite runs against: each opens the state that a folder stands for.

A new implementation needs a name here, and no other change of the suite.
"""

from pathlib import Path

from openengagement.limits.lmdb import LmdbLimits
from openengagement.limits.postgresql import PostgresqlLimits


def open_postgresql(folder):
    """Open the limits at the URL in a file of the folder."""
    return PostgresqlLimits((Path(folder) / "url").read_text())


BACKENDS = {"lmdb": lambda folder: LmdbLimits(Path(folder)), "postgresql": open_postgresql}
