"""Compare the files in the folder of segments with the manifest.

A crash leaves files that no record lists, and the database knows their names (`manifest`). Any
other difference means that database and files are not of one state: one of them is older, belongs
to another server, or is only half restored. Then nothing may be removed, and no number is right.
"""

import re
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

from openengagement.files import FileLock, UnusableFile, sync_folder
from openengagement.sqlite_files import is_new
from openengagement.stores.embedded import manifest
from openengagement.stores.embedded.database import Database
from openengagement.stores.embedded.manifest import Unlisted
from openengagement.telemetry import log_event

SUFFIX: Final = ".segment"
# A file gets the suffix of a segment once it is complete.
_UNFINISHED: Final = re.compile(r"merged-[0-9a-f]{32}\.unfinished")
_NAMED_BEFORE_9: Final = re.compile(r"[0-9a-f]{32}\.segment")
_SHOWN: Final = 3
_ADVICE: Final = (
    "Nothing was changed. Put the {name} and the {folder} folder of one backup or one moment "
    "together; `openengagement restore` does so in an empty folder"
)


class SegmentFolder:
    """The folder `path` with the segment files of a database.

    `locks` are the file locks of the stages. While one of them is held, a merge may be running.
    """

    def __init__(self, database: Database, path: Path, *, locks: Sequence[FileLock]) -> None:
        self._database = database
        self.path = path
        self._locks = locks

    def names(self) -> set[str]:
        """List the segment files in the folder."""
        return {file.name for file in self.path.glob(f"*{SUFFIX}")}

    def refuse_new_database(self) -> None:
        """Refuse to create a database beside segment files.

        Raises:
            UnusableFile
        """
        # List the files first: the process that creates a folder makes the database before them.
        if (names := self.names()) and is_new(self._database.path):
            self._refuse(f"has {_show(names)}, but {self._name} is missing or empty")

    def refuse_misfit(self, db: sqlite3.Connection, *, orphans_expected: bool) -> None:
        """Refuse a database that does not list exactly the files of the folder.

        `db` is in a transaction of the only writer. With `orphans_expected`, files without a record
        may be left from a crash of an older version. They stay, and are recorded.

        Raises:
            UnusableFile
        """
        listed = {record.file for record in manifest.list_segments(db) if record.file}
        names = self.names()
        if missing := listed - names:
            self._refuse(f"lacks {_show(missing)}, which {self._name} lists")
        unknown = names - listed - manifest.list_unlisted(db).keys()
        if orphans_expected and all(map(_NAMED_BEFORE_9.fullmatch, unknown)):
            manifest.note_unlisted(db, unknown, state=Unlisted.KEPT)
            if unknown:
                log_event("unlisted_segments_kept", files=_show(unknown), folder=str(self.path))
        # A running server of an older version does not record the file that it is writing.
        elif unknown and self._no_merge_runs():
            self._refuse(f"has {_show(unknown)}, which {self._name} does not list")

    def remove_leftovers(self, *, wait: bool = False) -> None:
        """Remove files that a crash left: unfinished ones, and those recorded as removable.

        While a merge runs, wait for it if `wait` is true, else remove nothing.
        """
        with ExitStack() as stack:
            if not self._hold_all(stack, wait=wait):
                return
            db = self._database.connection()
            listed = {record.file for record in manifest.list_segments(db)}
            unlisted = manifest.list_unlisted(db).items()
            own = [name for name, state in unlisted if state is not Unlisted.KEPT]
            removable = set(own) - listed
            for name in removable:
                (self.path / name).unlink(missing_ok=True)
            for path in self.path.iterdir():
                if _UNFINISHED.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            if removable:
                sync_folder(self.path)
                with self._database.writing() as db:
                    manifest.forget_unlisted(db, removable)

    def removed(self) -> list[str]:
        """List the replaced files that are not in the folder any more."""
        unlisted = manifest.list_unlisted(self._database.connection()).items()
        replaced = [name for name, state in unlisted if state is Unlisted.REPLACED]
        return [name for name in replaced if not (self.path / name).exists()]

    @property
    def _name(self) -> str:
        return self._database.path.name

    def _no_merge_runs(self) -> bool:
        with ExitStack() as stack:
            return self._hold_all(stack)

    def _hold_all(self, stack: ExitStack, *, wait: bool = False) -> bool:
        return all(stack.enter_context(lock.held(wait=wait)) for lock in self._locks)

    def _refuse(self, problem: str) -> NoReturn:
        advice = _ADVICE.format(name=self._name, folder=self.path.name)
        raise UnusableFile(f"{self.path} {problem}. {advice}")


def _show(files: Collection[str]) -> str:
    shown = ", ".join(sorted(files)[:_SHOWN])
    count = f"{len(files)} segment file{'s' * (len(files) > 1)}"
    return f"{count} ({shown}{', ...' * (len(files) > _SHOWN)})"
