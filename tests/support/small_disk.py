"""A file system of a few MiB, in a mount namespace of its own, which a test can fill."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount")
_MOUNT: Final = 'mount -t tmpfs -o "size=$1" none "$2" && echo mounted && exec cat'
_CHUNK: Final = b"\0" * 65_536


class SmallDisk:
    """A mounted tmpfs. Commands with `prefix` see it at `path`; this process sees it at `seen`."""

    def __init__(self, path: Path, holder: int) -> None:
        self.path = path
        self.seen = Path(f"/proc/{holder}/root{path}")
        self.prefix: Sequence[str] = (
            *("nsenter", "--target", str(holder), "--user", "--mount"),
            *("--preserve-credentials", "--"),
        )
        self._filler = self.seen / "filler"

    def copy_in(self, folder: Path) -> Path:
        """Copy a folder to the disk. Return its path there."""
        shutil.copytree(folder, self.seen / folder.name)
        return self.path / folder.name

    def fill(self) -> None:
        """Write until nothing fits any more."""
        for chunk in (_CHUNK, b"\0"):
            try:
                with self._filler.open("ab", buffering=0) as file:
                    while file.write(chunk):
                        pass
            except OSError:
                pass

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()

    def used_bytes(self) -> int:
        """The bytes in use."""
        state = os.statvfs(self.seen)
        return (state.f_blocks - state.f_bfree) * state.f_frsize


@contextmanager
def small_disk(path: Path, *, size: str) -> Iterator[SmallDisk]:
    """Mount a disk of this size, such as "8m", at a new folder. Skip the test if that fails."""
    path.mkdir()
    command = [*_UNSHARE, "sh", "-c", _MOUNT, "sh", size, str(path)]
    try:
        holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        pytest.skip("there is no `unshare` to mount a small disk with")
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"mounted\n":
            reason = holder.stderr.read().decode(errors="replace").strip()
            pytest.skip(f"this system does not let a test mount a small disk: {reason}")
        try:
            yield SmallDisk(path, holder.pid)
        finally:
            holder.stdin.close()
