"""The built packages, and a clean environment in which they are installed."""

import shutil

import pytest

from deploy.packages import PROJECTS, ROOT, Built, Environment, build
from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]


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
    """The versions of the lock, without hashes: pip would demand those of our own wheels too."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.removesuffix(" \\") for line in lines if "==" in line and line[0].isalnum()]
    assert len(pins) > 50
    file = tmp_path_factory.mktemp("lock") / "constraints.txt"
    file.write_text("\n".join(pins) + "\n")
    return file


@pytest.fixture(scope="session")
def installed(built, constraints, tmp_path_factory):
    """An environment with the two wheels and what they depend on, and nothing else."""
    environment = Environment(tmp_path_factory.mktemp("clean") / "venv")
    wheels = [package.wheel for package in built.values()]
    environment.pip("--no-compile", "--constraint", constraints, *wheels)
    yield environment
    shutil.rmtree(environment.folder)
