"""Verify all files of a store, while servers use them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from openengagement.damage import Damage, Inspection, inspect_database, other_version
from openengagement.errors import StoreDamaged
from openengagement.sqlite_files import connect
from openengagement.stores.embedded.ledger_time import list_jumps
from openengagement.stores.embedded.manifest import list_segments, read_segment
from openengagement.stores.embedded.segments import Segment
from openengagement.stores.embedded.upgrade import VERSION

_ATTEMPTS: Final = 10
_REMEDY: Final = (
    "Requests that need these counts are answered with 503. Restore a backup into an empty folder "
    "with `openengagement restore`, and send again the events that were counted after it"
)


def inspect_counters(path: Path, inspection: Inspection) -> None:
    """Verify the structure of the database, and every block of every segment."""
    if not inspect_database(path, inspection, remedy=_REMEDY):
        return
    with closing(connect(path, mode="ro", isolation_level=None)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            is_older = version < VERSION
            other = other_version(path.name, version, known=VERSION, is_older=is_older)
            inspection.outdated.append(other)
            return
        inspection.clock_jumps += [
            ("idempotency keys", jump.from_s, jump.to_s) for jump in list_jumps(db)
        ]
        query = "SELECT count(*) FROM segments WHERE checksum IS NULL"
        inspection.without_checksums += db.execute(query).fetchone()[0]
        opened, damaged = _open_all(db, path.with_suffix(".segments"))
    inspection.damaged += damaged
    for segment in opened:
        inspection.files += 1
        try:
            segment.verify(inspection.on_bytes)
        except StoreDamaged as error:
            inspection.damaged.append(Damage(error.file, error.fault, _REMEDY))


def _open_all(db: sqlite3.Connection, folder: Path) -> tuple[list[Segment], list[Damage]]:
    """Open all files of one snapshot, so that none can disappear. Return them and the damage.

    Another process may merge and remove a file after it was listed. Then list again.
    """
    opened: list[Segment] = []
    damaged: list[Damage] = []
    missing: list[Damage] = []
    for _ in range(_ATTEMPTS):
        opened, damaged, missing = _try_to_open(db, folder)
        if not missing:
            break
    return opened, damaged + missing


def _try_to_open(
    db: sqlite3.Connection, folder: Path
) -> tuple[list[Segment], list[Damage], list[Damage]]:
    """Open all files of one snapshot. Return them, the damage, and the missing files."""
    opened: list[Segment] = []
    damaged: list[Damage] = []
    missing: list[Damage] = []
    db.execute("BEGIN")
    for record in list_segments(db):
        try:
            segment = read_segment(db, record, folder=folder)
        except StoreDamaged as error:
            damaged.append(Damage(error.file, error.fault, _REMEDY))
        except FileNotFoundError:
            missing.append(Damage(f"{folder.name}/{record.file}", "the file is missing", _REMEDY))
        else:
            opened += [segment] if segment.is_file else []
    db.execute("COMMIT")
    return opened, damaged, missing
