"""Build the packages, and install them in environments that have nothing else."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECTS = {"openengagement": ROOT, "openengagement-client": ROOT / "packages" / "client"}


@dataclass(frozen=True)
class Built:
    """The two files of a package."""

    wheel: Path
    sdist: Path


def build(project, to, *targets):
    """Build a project with the backend of the environment, as `make dist` does."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(to), *targets]
    subprocess.run(command, cwd=project, check=True, capture_output=True)


class Environment:
    """A virtual environment that has only what a test installs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)

    def pip(self, *arguments: object) -> None:
        command = [self.folder / "bin" / "pip", "install", "--disable-pip-version-check"]
        command += ["--no-input", "--quiet", *arguments]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def run(self, name, *arguments, cwd, check=True, **variables):
        """Run one of its programs, with no variable of this process. Return the ended process."""
        done = subprocess.run(
            [self.folder / "bin" / name, *map(str, arguments)],
            cwd=cwd,
            env=self.variables(cwd, **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def variables(self, home, **more):
        return {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
        } | more
