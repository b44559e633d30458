"""The files that commands write, and how they name them."""

import os
from pathlib import Path


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path


def short(path: Path) -> str:
    """A path as it is typed here. Links stay as they are: a virtual environment's Python is one."""
    path = Path(os.path.abspath(path))  # noqa: PTH100
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
