"""Open the limits. This is the only module that imports an engine for them."""

from contextlib import closing
from pathlib import Path
from typing import Final

from openengagement.damage import Damage, Inspection
from openengagement.errors import StoreUnavailable
from openengagement.extras import import_postgresql
from openengagement.limits.contract import Limits, LimitsUnusable
from openengagement.limits.lmdb import LmdbLimits, file_of_boot
from openengagement.limits.lmdb_file import find_damage

_POSTGRESQL: Final = "openengagement.limits.postgresql"
_REMEDY: Final = (
    "Stop the servers, and remove the file. A signed request of the last minutes could then be "
    "served once more"
)


def open_limits(data: Path, url: str = "") -> Limits:
    """Open the limits at a URL of PostgreSQL, or without one those of a data folder.

    All workers share them: those of all servers, or of the folder.

    Raises:
        LimitsUnusable
        StoreUnavailable: PostgreSQL cannot be reached, or refuses the user.
    """
    if url:
        limits: Limits = import_postgresql(_POSTGRESQL).PostgresqlLimits(url)
        return limits
    return LmdbLimits(data)


def init_limits(url: str) -> None:
    """Create the tables in PostgreSQL, if they are missing.

    Raises:
        StoreUnavailable: PostgreSQL cannot be reached, or refuses the user.
    """
    import_postgresql(_POSTGRESQL).init_limits(url)


def check_limits(data: Path, inspection: Inspection) -> None:
    """Verify the limits, if there are any, and note the jumps of the clock that they recorded."""
    path = file_of_boot(data)
    if not path.exists():
        return
    inspection.files += 1
    # Opening the limits would replace a damaged file.
    if damage := find_damage(path):
        inspection.damaged.append(Damage(path.name, damage, _REMEDY))
        return
    try:
        with closing(LmdbLimits(data)) as limits:
            inspection.clock_jumps += [("nonces", *jump) for jump in limits.list_jumps()]
    except (LimitsUnusable, StoreUnavailable) as error:
        inspection.damaged.append(Damage(path.name, str(error), _REMEDY))
