"""Commands and examples of docs/operating and of mapping.md that no other test runs."""

import json

import pytest

from support.cli import call_command
from support.clickhouse import ClickHouseMissing, ReplicatedCluster
from support.documented import ROOT, read_code
from support.postgresql import PostgresqlMissing, PostgresqlServer

pytestmark = pytest.mark.heavy

URL = "postgresql://user:password@host:5432/name"
STORE = "'clickhouse://user:password@h1:8123,h2:8123,h3:8123/name?cluster=main'"


def blocks(page, kind):
    return read_code((ROOT / "docs" / page).read_text(), kind)


@pytest.fixture
def platform(shell):
    """Run a server with three accounts. Return the line that exports its platform key."""
    data = shell.folder / "data"
    for name, number in (("alice", "5"), ("bob", "6"), ("carol", "7")):
        call_command(data, "account", "add", name, "--id", number)
    app = call_command(data, "app", "add", "My dashboard", "--owner", "alice")
    call_command(data, "app", "enable", app["app_id"], "--handles", "500")
    key = call_command(data, "platform-key", "issue", "feed")["platform_key"]
    shell.serve("openengagement serve")
    return f"export PLATFORM_KEY={key}"


def test_usage(shell, platform):
    (ask,) = blocks("operating/accounts.md", "sh")
    (example,) = blocks("operating/accounts.md", "json")
    printed, expected = json.loads(shell.run(platform, ask)), json.loads(example)
    assert printed.keys() == expected.keys()
    assert printed["month"] == expected["month"]
    answered, described = printed["apps"], expected["apps"][0]
    assert {name: type(value) for name, value in described.items()} == {
        name: type(value) for name, value in answered[0].items()
    }


def test_erasing(shell, platform):
    (erase,) = blocks("operating/erasing.md", "sh")
    shell.run(platform, erase)
    assert call_command(shell.folder / "data", "account", "list")["accounts"] == []


@pytest.fixture
def postgresql():
    try:
        server = PostgresqlServer()
    except PostgresqlMissing as error:
        pytest.skip(str(error))
    yield server
    server.remove()


def without_install(commands):
    return "\n".join(line for line in commands.splitlines() if not line.startswith("pip "))


def test_the_registry_in_postgresql(shell, postgresql):
    (commands,) = blocks("operating/postgresql.md", "sh")
    assert URL in commands
    commands = without_install(commands).replace(URL, f"'{postgresql.url}'")
    shell.run(commands, "openengagement status")


def test_many_machines(shell, postgresql):
    (commands,) = blocks("operating/cluster.md", "sh")
    key = shell.run("openengagement key generate").strip()
    try:
        cluster = ReplicatedCluster()
    except ClickHouseMissing as error:
        pytest.skip(str(error))
    with cluster:
        for named, real in (
            (URL, f"'{postgresql.url}'"),
            (STORE, f"'{cluster.url('docs')}'"),
            ("KEYS=...", f"KEYS={key}"),
        ):
            assert named in commands
            commands = commands.replace(named, real)
        assert shell.run(commands)


def test_a_mapping(shell):
    command, *_ = blocks("mapping.md", "")
    (mapping,) = blocks("mapping.md", "toml")
    (shell.folder / "map.toml").write_text(mapping)
    (shell.folder / "sample.csv").write_text(
        "kind,post.id,created_at\n"
        "boost,20,2026-11-22 10:15:00\n"
        "favourite,20,2026-11-22 10:16:00\n"
        "follow,20,2026-11-22 10:17:00\n"
    )
    assert shell.run(command).split() == ["accepted", "2", "rejected", "0"]
