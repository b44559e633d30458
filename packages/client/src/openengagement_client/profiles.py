"""The file of profiles: URLs and credentials by name, in TOML, with mode 0600."""

import json
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final

from openengagement_client.errors import ConfigurationError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def profiles_path(environment: Mapping[str, str]) -> Path:
    """Return the file of profiles: `~/.config/openengagement/profiles.toml`."""
    base = environment.get("XDG_CONFIG_HOME")
    home = Path(base) if base else Path.home() / ".config"
    return home / "openengagement" / "profiles.toml"


def read_profile(path: Path, name: str, *, names: Sequence[str]) -> dict[str, str]:
    """Read one profile: its URL, and these names.

    Raises:
        ConfigurationError: the file or the profile is missing or unusable.
    """
    profiles = _read_file(path)
    found = profiles.get(name)
    if not isinstance(found, dict):
        known = ", ".join(profiles) or "none"
        raise ConfigurationError(f"{path} has no profile {name!r}, only: {known}")
    if unknown := sorted(set(found) - {"url", *names}):
        raise ConfigurationError(f"profile {name!r} has unknown names: {', '.join(unknown)}")
    return {key: str(value) for key, value in found.items()}


def read_names(path: Path) -> list[str]:
    """Return the names of all profiles; none if there is no file.

    Raises:
        ConfigurationError: the file is unusable.
    """
    return list(_read_file(path)) if path.exists() else []


def write_profile(path: Path, name: str, *, fields: Mapping[str, str] | None) -> None:
    """Add a profile, replace it, or remove it. The file stays readable for its owner alone.

    Raises:
        ConfigurationError: the file is there and cannot be read, or it cannot be written.
    """
    profiles = _read_file(path) if path.exists() else {}
    profiles.pop(name, None)
    if fields is not None:
        profiles[name] = dict(fields)
    text = "\n".join(_render(each, found) for each, found in profiles.items())
    try:
        _write_file(path.resolve(), text)  # a link to the file stays a link
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from None


def _write_file(path: Path, text: str) -> None:
    """Replace the file at once. Nobody else can read it at any time."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, partial = mkstemp(prefix=f".{path.name}.", dir=path.parent)  # has mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink()
        raise


def _render(name: str, fields: Mapping[str, Any]) -> str:
    """Write a table of TOML. A string of JSON is one of TOML too."""
    lines = [f"{key} = {json.dumps(str(value))}" for key, value in fields.items()]
    return "\n".join([f"[{json.dumps(name)}]", *lines, ""])


def _read_file(path: Path) -> dict[str, Any]:
    """Read all profiles. They hold secrets, so nobody else may be able to read the file."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid not in (os.geteuid(), 0):
                raise ConfigurationError(f"{path} belongs to another user")
            if found.st_mode & _OTHERS:
                raise ConfigurationError(f"others may read {path}; run: chmod 600 {path}")
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
