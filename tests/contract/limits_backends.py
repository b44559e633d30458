"""The limits that the suite runs against: each opens the state that a folder stands for.

A new implementation needs a name here, and no other change of the suite.
"""

from pathlib import Path

from openengagement.limits.lmdb import LmdbLimits

BACKENDS = {"lmdb": lambda folder: LmdbLimits(Path(folder))}
