"""The release script, on a copy of the repository: what it writes, tags and refuses."""

import os
import re
import shutil
import subprocess
import time

import pytest

from deploy.packages import ROOT

pytestmark = pytest.mark.heavy

FILES = ("pyproject.toml", "packages/client/pyproject.toml", "CHANGELOG.md", ".ci/release")


@pytest.fixture
def repository(tmp_path):
    """A repository on main with the files that a release changes."""
    folder = tmp_path / "repository"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Begin")
    return folder


def git(folder, *arguments):
    identity = ["-c", "user.name=Ana", "-c", "user.email=ana@example.com"]
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def release(folder, version, *, check="true"):
    identity = {
        f"GIT_{who}_{what}": text
        for who in ("AUTHOR", "COMMITTER")
        for what, text in (("NAME", "Ana"), ("EMAIL", "ana@example.com"))
    }
    return subprocess.run(
        [folder / ".ci" / "release", version],
        env={**os.environ, **identity, "CHECK": check, "BUILD": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())


def test_a_release_is_a_commit_and_a_tag(repository):
    notes = (repository / "CHANGELOG.md").read_text().partition("## [Unreleased]\n")[2].strip()
    days = [today()]
    done = release(repository, "7.1.0")
    days.append(today())  # the day may have ended meanwhile
    assert done.returncode == 0, done.stderr
    assert "git push origin main v7.1.0" in done.stdout

    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "log", "-1", "--format=%s") == "Release 7.1.0"
    assert git(repository, "describe") == "v7.1.0"
    assert git(repository, "cat-file", "-t", "v7.1.0") == "tag"
    message = git(repository, "tag", "--list", "--format=%(contents)", "v7.1.0")
    assert message.startswith("Release 7.1.0\n\n")
    first = next(line for line in notes.splitlines() if line.startswith("- "))
    assert first in message

    server, client, changelog, _ = ((repository / name).read_text() for name in FILES)
    assert 'version = "7.1.0"' in server
    assert '"openengagement-client>=7.1.0"' in server
    assert 'version = "7.1.0"' in client
    heads = re.findall(r"^## \[Unreleased\]\n\n## \[7\.1\.0\] - (.*)$", changelog, re.MULTILINE)
    assert heads in ([day] for day in days)


@pytest.mark.parametrize("version", ["", "7", "v7.1.0", "7.1", "7.1.0-beta", "7.1.0; true"])
def test_other_versions_are_refused(repository, version):
    done = release(repository, version)
    assert done.returncode == 1
    assert "give a version such as 0.2.0" in done.stderr


def test_a_failed_check_releases_nothing(repository):
    done = release(repository, "7.1.0", check="false")
    assert done.returncode == 1
    assert "nothing was released" in done.stderr
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag") == ""
    assert git(repository, "log", "--format=%s") == "Begin"


def test_a_second_release_needs_notes_and_another_version(repository):
    assert release(repository, "7.1.0").returncode == 0
    assert "v7.1.0 exists already" in release(repository, "7.1.0").stderr
    assert "nothing under Unreleased" in release(repository, "7.2.0").stderr


def test_uncommitted_changes_and_other_branches_are_refused(repository):
    git(repository, "switch", "--quiet", "--create", "other")
    assert "from main" in release(repository, "7.1.0").stderr
    git(repository, "switch", "--quiet", "main")
    (repository / "new.txt").write_text("new")
    assert "uncommitted" in release(repository, "7.1.0").stderr
