"""Open the limits. This is the only module that imports an engine for them."""

from contextlib import closing
from pathlib import Path
from typing import Final

from openengagement.damage import Damage, Inspection
from openengagement.limits.contract import Limits, LimitsUnusable
from openengagement.limits.lmdb import LmdbLimits

_REMEDY: Final = (
    "Stop the servers, and remove the file. A signed request of the last minutes could then be "
    "served once more"
)


def open_limits(data: Path) -> Limits:
    """Open the limits that all workers of a data folder share.

    Raises:
        LimitsUnusable
    """
    return LmdbLimits(data)


def check_limits(data: Path, inspection: Inspection) -> None:
    """Open the limits if there are any, and note the jumps of the clock that they recorded."""
    files = sorted(path.name for path in data.glob("limits-*.lmdb"))
    if not files:
        return
    inspection.files += 1
    try:
        with closing(LmdbLimits(data)) as limits:
            inspection.clock_jumps += [("nonces", *jump) for jump in limits.list_jumps()]
    except LimitsUnusable as error:
        inspection.damaged.append(Damage(files[-1], str(error), _REMEDY))
