"""Batches that wait on disk while the server is away.

Each is one file, named by its first line and its key. A batch that the server refuses for
good moves to the folder `refused`, so that it does not keep others from being sent.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from openengagement_client.batches import Batch
from openengagement_client.errors import ConfigurationError

_SUFFIX: Final = ".ndjson"
_NAME: Final = re.compile(r"\d{1,18}-[!-~]+\.ndjson")


class Spool:
    """A folder of batches. If several senders use it, a batch may be sent twice; it counts once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def __len__(self) -> int:
        return len(self._files())

    def add(self, batch: Batch) -> None:
        """Write a batch. It survives power loss once this returns."""
        name = f"{batch.first_line}-{batch.key}{_SUFFIX}"
        partial = self._folder / f"{name}.partial"
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(batch.body)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._folder / name)
        self._sync(self._folder)

    def batches(self) -> Iterator[tuple[Path, Batch]]:
        """Yield the waiting batches and their files, the oldest first."""
        for path in self._files():
            first_line, _, key = path.name.removesuffix(_SUFFIX).partition("-")
            with suppress(FileNotFoundError):  # another sender was faster
                yield path, Batch(path.read_bytes(), key, int(first_line))

    def remove(self, path: Path) -> None:
        """Forget a batch that was counted."""
        path.unlink(missing_ok=True)

    def refuse(self, batch: Batch) -> None:
        """Keep a batch in the folder `refused`, since the server will never take it."""
        Spool(self._folder / "refused").add(batch)

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        files = (path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        return sorted(files, key=_age)

    @staticmethod
    def _sync(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def open_spool(folder: Path | str | None) -> Spool | None:
    """Open a spool, if a folder is given.

    Raises:
        ConfigurationError: the folder cannot be made.
    """
    try:
        return None if folder is None else Spool(Path(folder))
    except OSError as error:
        raise ConfigurationError(f"cannot open the spool: {error}") from None
