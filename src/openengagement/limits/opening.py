"""Open the limits. This is the only module that imports an engine for them."""

from pathlib import Path

from openengagement.limits.contract import Limits
from openengagement.limits.lmdb import LmdbLimits


def open_limits(data: Path) -> Limits:
    """Open the limits that all workers of a data folder share.

    Raises:
        LimitsUnusable
    """
    return LmdbLimits(data)
