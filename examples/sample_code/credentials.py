"""Reads keys and tokens from a `.env` file, so that the code contains none."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dotenv import dotenv_values

DEFAULT_URL = "http://127.0.0.1:8080"


def add_env_option(parser: argparse.ArgumentParser) -> None:
    """Give a script the option `--env FILE`."""
    parser.add_argument(
        "--env", metavar="FILE", type=Path, help="where the credentials are (default: .env)"
    )


def read_credentials(env_file: Path | None, *names: str) -> dict[str, str]:
    """Return the variables named, and ENGAGEMENT_API_URL; stop with the names of any missing.

    A variable in the file wins over one in the environment. Without `--env`, the file is `.env` in
    the current folder or else next to this script, and may be absent.
    """
    if env_file is None:
        default = Path(__file__).with_name(".env")
        env_file = Path(".env") if Path(".env").is_file() else default
    elif not env_file.exists():
        sys.exit(f"There is no file {env_file}.")
    # No interpolation: a secret may contain a dollar sign.
    in_file = dotenv_values(env_file, interpolate=False)
    found = {**os.environ, **{name: value for name, value in in_file.items() if value}}
    missing = [name for name in names if not found.get(name)]
    if missing:
        sys.exit(f"Missing in {env_file} and in the environment: {', '.join(missing)}.")
    url = found.get("ENGAGEMENT_API_URL") or DEFAULT_URL
    return {name: found[name] for name in names} | {"ENGAGEMENT_API_URL": url.rstrip("/")}
