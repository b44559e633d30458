"""The built packages, and clean environments in which they are installed."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]

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


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The wheel and the sdist of both packages, by name."""
    packages = {}
    for name, project in PROJECTS.items():
        folder = tmp_path_factory.mktemp(name)
        build(project, folder)
        (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
        packages[name] = Built(wheel, sdist)
    return packages


@pytest.fixture(scope="session")
def constraints(tmp_path_factory):
    """The versions of the lock. Without the hashes, which pip would demand of our own wheels too."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.removesuffix(" \\") for line in lines if "==" in line and line[0].isalnum()]
    assert len(pins) > 50
    file = tmp_path_factory.mktemp("lock") / "constraints.txt"
    file.write_text("\n".join(pins) + "\n")
    return file


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
        return {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"} | more


@pytest.fixture(scope="session")
def installed(built, constraints, tmp_path_factory):
    """An environment with the two wheels and what they depend on, and nothing else."""
    environment = Environment(tmp_path_factory.mktemp("clean") / "venv")
    wheels = [package.wheel for package in built.values()]
    environment.pip("--no-compile", "--constraint", constraints, *wheels)
    yield environment
    shutil.rmtree(environment.folder)
