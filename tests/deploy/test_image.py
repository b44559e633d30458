"""The Dockerfile without Docker: its build steps run, and its server runs with the same rights.

The server runs as a user without rights, sees a read-only file system, and may write to its data
folder and a temporary folder only, as under `compose.yaml`.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from deploy.packages import ROOT
from support.ports import free_port
from support.waiting import PATIENCE_S, wait_for

PREFIX = "/usr/local/openengagement"
DATA = "/var/lib/openengagement"
IS_ROOT = os.geteuid() == 0


def instructions():
    """The instructions of the Dockerfile as pairs, by stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    stages = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


def settings_of(stage):
    """The variables that a stage sets."""
    words = [word for kind, rest in stage if kind == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def value(stage, kind):
    (found,) = (rest for word, rest in stage if word == kind)
    return found


def test_both_stages_have_the_python_of_the_tests():
    bases = {stage[0][1].removesuffix(" AS build") for stage in instructions()}
    assert bases == {"python:3.11-slim-bookworm"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"


def test_a_linter_has_nothing_to_say():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_build_context_has_what_is_copied_and_no_more():
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source for kind, rest in instructions()[0] if kind == "COPY" for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_lock_of_the_image_is_a_part_of_the_lock():
    """The image has the versions with which the tests run."""
    pins = [
        set(re.findall(r"^([a-z0-9._-]+==\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("deploy/requirements.lock", "requirements.lock")
    ]
    assert len(pins[0]) > 30
    assert pins[0] <= pins[1]
    names = {pin.partition("==")[0] for pin in pins[0]}
    assert {"granian", "psycopg", "polars"} <= names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "openengagement-client"}


def test_the_image_runs_without_rights():
    stage = instructions()[1]
    assert value(stage, "USER") == "10001:10001"
    assert value(stage, "VOLUME") == settings_of(stage)["OPENENGAGEMENT_DATA"] == DATA
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    server = compose["services"]["server"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert server["volumes"] == [f"data:{DATA}", f"backups:{DATA}-backups"]
    (made,) = (rest for kind, rest in stage if kind == "RUN")
    assert made.split()[-2:] == [DATA, f"{DATA}-backups"]  # a new volume gets its owner from there
    (network,) = compose["networks"]["inside"]["ipam"]["config"]
    assert server["environment"]["OPENENGAGEMENT_TRUSTED_PROXIES"] == network["subnet"]
    assert "ports" not in server  # only Caddy is reached from outside


@pytest.fixture(scope="module")
def image():
    """The environment that the build stage makes, in a folder that every user can read."""
    with tempfile.TemporaryDirectory(prefix="openengagement-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        context, prefix = folder / "build", folder / "installed"
        context.mkdir()
        stage = instructions()[0]
        variables = {**os.environ, **settings_of(stage)}
        del variables["PIP_NO_CACHE_DIR"]  # the tests may use the cache
        for kind, rest in stage:
            if kind == "COPY":
                *sources, target = rest.split()
                for source in sources:
                    _copy(ROOT / source, context / target)
            elif kind == "RUN":
                command = rest.replace(PREFIX, str(prefix))
                done = subprocess.run(
                    ["sh", "-ec", command],
                    cwd=context,
                    env=variables,
                    capture_output=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr.decode()
        yield prefix


def _copy(source, target):
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    else:
        shutil.copy(source, target)


# Every mount becomes read-only, apart from the two folders. If only root can reach this Python, it
# is mounted again at the same path, below folders that everybody can read.
ISOLATED = """
top=/$(printf %s "$4" | cut -d / -f 2)
if ! setpriv --reuid 10001 --regid 10001 --clear-groups test -x "$4/bin"; then
    mount --bind "$4" "$5"
    mount -t tmpfs -o mode=755 none "$top"
    mkdir -p "$4"
    mount --bind "$5" "$4"
fi
mount --bind "$1" "$1"
mount --bind "$2" "$2"
cut -d ' ' -f 2 /proc/mounts | sort -r | while read -r point; do
    case $point in
        "$1" | "$2" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
        # Another test may unmount and remove a folder meanwhile, which removes the mount here.
        *) mount -o remount,bind,ro "$point" || [ ! -e "$point" ] ;;
    esac
done
touch "$3" 2>/dev/null && { echo "the file system is not read-only" >&2; exit 1; }
shift 5
exec "$@"
"""


def isolated(data, temporary, command):
    """Return a command that runs without rights, and can write to these two folders only."""
    if IS_ROOT:
        user = ["--reuid", "10001", "--regid", "10001", "--clear-groups", "--no-new-privs"]
        command = ["setpriv", *user, "--inh-caps=-all", "--bounding-set=-all", *command]
        space = ["unshare", "--mount"]
    else:
        space = ["unshare", "--user", "--map-root-user", "--mount"]
    beside = [str(data.with_name(name)) for name in ("probe", "python")]
    folders = [str(data), str(temporary), beside[0], sys.base_prefix, beside[1]]
    return [*space, "sh", "-ec", ISOLATED, "sh", *folders, *command]


@contextmanager
def running(image, *arguments):
    """Run the image's entry point with these arguments. Yields its data folder and the process."""
    stage = instructions()[1]
    with tempfile.TemporaryDirectory(prefix="openengagement-volume-") as name:
        Path(name).chmod(0o755)
        data, temporary = Path(name, "data"), Path(name, "tmp")
        Path(name, "python").mkdir()
        for folder in (data, temporary):
            folder.mkdir(mode=0o700)
            if IS_ROOT:
                os.chown(folder, 10001, 10001)
        variables = {
            **settings_of(stage),
            "PATH": f"{image}/bin:/usr/bin:/bin",
            "OPENENGAGEMENT_DATA": str(data),
            "TMPDIR": str(temporary),
        }
        entry = json.loads(value(stage, "ENTRYPOINT"))
        command = isolated(data, temporary, [str(image / "bin" / entry[0]), *entry[1:], *arguments])
        log = Path(name, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=data, env=variables, stdout=output, stderr=output
            )
        try:
            yield data, process, log
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.mark.heavy
def test_the_server_runs_read_only_and_without_rights(image):
    port = free_port()
    arguments = json.loads(value(instructions()[1], "CMD"))
    arguments[arguments.index("0.0.0.0")] = "127.0.0.1"
    with running(image, *arguments, "--port", str(port)) as (data, process, log):

        def is_ready():
            assert process.poll() is None, log.read_text()
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE_S)
            except requests.ConnectionError:
                return None
            return answer.json()

        ready = wait_for(is_ready, pause_s=0.1, reason=log.read_text)
        assert ready["status"] == "ready", ready
        if IS_ROOT:
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert re.search(r"^Uid:\t10001\t10001\t10001\t10001$", status, re.MULTILINE)
            assert re.search(r"^Cap(Eff|Bnd):\t0+$", status, re.MULTILINE)
        # The health check of the image, as it stands, with this port.
        check = json.loads(value(instructions()[1], "HEALTHCHECK").partition("CMD ")[2])
        code = check[-1].replace(":8080/", f":{port}/")
        subprocess.run([image / "bin" / "python", "-c", code], check=True)
        _count_a_batch(image, data, f"http://127.0.0.1:{port}", log)


def _count_a_batch(image, data, url, log):
    """Events of Parquet start all processes of the server: counting, decoding, compaction."""
    import polars as pl

    arguments = ["--data", str(data), "platform-key", "issue", "p", "--json"]
    command = [str(image / "bin" / "openengagement"), *arguments]
    made = subprocess.run(
        isolated(data, data.with_name("tmp"), command), capture_output=True, check=True
    )
    key = json.loads(made.stdout)["platform_key"]
    frame = pl.DataFrame({"tweet_id": ["1"], "type": ["favorites"], "at": ["2026-01-01T00:00:00Z"]})
    with tempfile.TemporaryFile() as file:
        frame.write_parquet(file)
        file.seek(0)
        answer = requests.post(
            f"{url}/platform/v1/events",
            data=file.read(),
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/vnd.apache.parquet",
            },
            timeout=PATIENCE_S,
        )
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1), log.read_text()
