"""Wheels and sdists are whole, and they work where nothing else is installed."""

import json
import re
import signal
import subprocess
import tarfile
import tomllib
import zipfile
from contextlib import contextmanager
from email.parser import Parser

import pytest

from deploy.packages import PROJECTS, Environment, build
from support.ports import free_port
from support.waiting import PATIENCE_S

pytestmark = pytest.mark.heavy

SOURCES = {
    "openengagement": "src/openengagement",
    "openengagement-client": "src/openengagement_client",
}


def files_of(wheel):
    """The files of a wheel apart from its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name
        }


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_has_every_file_of_its_package_and_no_other(built, name):
    source = PROJECTS[name] / SOURCES[name]
    expected = {
        str(path.relative_to(source.parent)): path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files_of(built[name].wheel) == expected


@pytest.mark.parametrize("name", PROJECTS)
def test_the_sdist_alone_builds_the_same_wheel(built, name, tmp_path):
    with tarfile.open(built[name].sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (project,) = tmp_path.iterdir()
    build(project, tmp_path / "dist", "--target", "wheel")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert files_of(wheel) == files_of(built[name].wheel)
    assert (project / "README.md").exists()


@pytest.mark.parametrize("name", PROJECTS)
def test_the_metadata_says_what_an_index_shows(built, name):
    metadata = metadata_of(built[name].wheel)
    assert metadata["Name"] == name
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    shown = metadata.get_payload()
    readme = (PROJECTS[name] / "README.md").read_text()
    headings = re.compile(r"^#.*$", re.MULTILINE)
    assert headings.findall(shown) == headings.findall(readme)
    assert re.findall(r"\]\((?!https?:)[^)]*", shown) == [], "an index does not have the file"


def test_both_packages_have_one_version_and_the_server_needs_that_client():
    projects = [
        tomllib.loads((project / "pyproject.toml").read_text())["project"]
        for project in PROJECTS.values()
    ]
    server, client = projects
    assert server["version"] == client["version"]
    assert f"openengagement-client>={client['version']}" in server["dependencies"]


@contextmanager
def sandbox_of(environment, folder):
    """Run `openengagement sandbox` of an environment. Yields the object that `--json` prints."""
    options = ["sandbox", "--json", "--port", str(free_port())]
    with (folder / "sandbox.log").open("wb") as log:
        process = subprocess.Popen(
            [environment.folder / "bin" / "openengagement", *options],
            cwd=folder,
            env=environment.variables(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_installed_packages_serve_and_sign(installed, built, tmp_path):
    version = built["openengagement"].wheel.name.split("-")[1]
    told = installed.run("openengagement", "--version", cwd=tmp_path).stdout
    assert told == f"openengagement {version}\n"
    assert (
        installed.run("oe", "--version", cwd=tmp_path).stdout
        == f"openengagement-client {version}\n"
    )

    with sandbox_of(installed, tmp_path) as sandbox:
        credentials = {
            "ENGAGEMENT_API_URL": sandbox["url"],
            "CONSUMER_KEY": sandbox["consumer_key"],
            "CONSUMER_SECRET": sandbox["consumer_secret"],
            "ACCESS_TOKEN": sandbox["access_token"],
            "ACCESS_TOKEN_SECRET": sandbox["access_token_secret"],
        }
        query = ["query", "28hr", sandbox["tweet_ids"][0], "--types", "impressions", "--quiet"]
        answer = installed.run("oe", *query, "--format", "ndjson", cwd=tmp_path, **credentials)
        (row,) = map(json.loads, answer.stdout.splitlines())
        assert row["tweet_id"] == sandbox["tweet_ids"][0]
        assert int(row["count"]) > 0  # a private metric, for a signed request of the owner
        folder = tmp_path / "data" / "sandbox"
        status = installed.run("openengagement", "--data", folder, "status", "--json", cwd=tmp_path)
        assert json.loads(status.stdout)["version"] == version


def test_nothing_of_the_tests_or_tools_is_installed(installed, tmp_path):
    listed = installed.run("pip", "list", "--format=json", cwd=tmp_path).stdout
    names = {package["name"].lower() for package in json.loads(listed)}
    assert {"openengagement", "openengagement-client", "granian", "httpx"} <= names
    assert not names & {"pytest", "ruff", "mypy", "hypothesis", "playwright", "pandas", "psycopg"}


def test_the_client_needs_httpx_alone(built, constraints, tmp_path):
    environment = Environment(tmp_path / "venv")
    environment.pip("--constraint", constraints, built["openengagement-client"].wheel)
    code = "import openengagement_client as c; print(c.EngagementClient.__name__)"
    assert environment.run("python", "-c", code, cwd=tmp_path).stdout == "EngagementClient\n"
    refused = environment.run("oe", "--version", cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert "pip install 'openengagement-client[cli]'" in refused.stderr
