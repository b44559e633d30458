"""The requirements of the alternatives: packages in .venv-bench (`make bench`), Debian packages."""

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-bench"
PYTHON = ENVIRONMENT / "bin" / "python"
INSTALLED = ENVIRONMENT / ".installed"
# The Debian packages of some peers, and the program that shows they are there.
POSTGRESQL = ("postgresql-15", Path("/usr/lib/postgresql/15/bin/postgres"))
REDIS = ("redis-server", Path("/usr/bin/redis-server"))


def why_missing(package: str | None = None) -> str | None:
    """Explain what an alternative lacks on this machine; None if it can run."""
    if not INSTALLED.exists():
        return "its Python packages are not installed: run `make bench`"
    programs = dict([POSTGRESQL, REDIS])
    if package is None or programs[package].exists():
        return None
    return f"Debian package {package} is not installed: apt-get install {package}"


def install_debian_packages() -> None:
    """Install missing packages if permitted; `why_missing` reports the rest."""
    missing = [name for name, program in (POSTGRESQL, REDIS) if not program.exists()]
    if not missing:
        return
    if os.geteuid() != 0:
        print(f"Not root, so not installed: {', '.join(missing)}", file=sys.stderr)
        return
    # The run level keeps Debian from starting servers of its own; the benchmark starts its own.
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        ran = subprocess.run(
            ["apt-get", "--quiet", *command], env=environment, capture_output=True, check=False
        )
        if ran.returncode != 0:
            print(ran.stderr.decode(errors="replace"), file=sys.stderr)
            return
