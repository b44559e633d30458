"""Commands that read: what they print for people and as JSON, and what they refuse."""

import json
import re
import shutil
import time
from datetime import datetime
from importlib.metadata import version

import pytest

from openengagement.registry.opening import open_registry
from support.cli import call_command, invoke
from support.folders import without_root


@pytest.fixture(scope="module")
def enabled(owned, tmp_path_factory):
    """A folder with an enabled app that has tokens, its App ID, and its secrets."""
    empty, app_id = owned
    folder = shutil.copytree(empty, tmp_path_factory.mktemp("enabled") / "data")
    call_command(folder, "app", "enable", app_id, "--per-minute", "50", "--handles", "9")
    token = call_command(folder, "token", "issue", app_id)
    bearer = call_command(folder, "token", "bearer", app_id)
    return folder, app_id, [token["access_token_secret"], bearer["access_token"]]


@pytest.fixture
def app(run, enabled, data):
    """The App ID of an enabled app with a token and a bearer token, and its secrets."""
    folder, *made = enabled
    shutil.copytree(folder, data)
    return made


@pytest.fixture
def refuses(run):
    def check(*arguments, says):
        done = run(*arguments)
        assert (done.code, done.out) == (1, "")
        assert says in done.err
        assert "Traceback" not in done.err

    return check


READING = {
    "app list": "apps",
    "account list": "accounts",
    "token list": "access_tokens",
    "platform-key list": "platform_keys",
    "usage": "apps",
}


@pytest.mark.parametrize("command", READING)
def test_every_list_is_one_json_object(run, app, command):
    printed = run(*command.split(), "--json").json()
    rows = printed[READING[command]]
    assert isinstance(rows, list)
    assert len(rows) == (command != "platform-key list")
    for row in rows:
        for name, value in row.items():
            if name.endswith("id"):
                assert isinstance(value, str), f"{name}: {value!r}"


@pytest.mark.parametrize("command", READING)
def test_a_list_for_people_has_a_row_for_each(run, app, command):
    run("platform-key", "issue", "feed")
    done = run(*command.split())
    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) == (1 if command == "platform-key list" else 2)
    assert done.out.isprintable() or "\n" in done.out


@pytest.mark.parametrize("command", [*READING, "status"])
def test_empty_folders_are_no_failure(run, command, tmp_path):
    nothing = tmp_path / "nothing.ndjson"
    nothing.touch()
    run("load", "events", nothing)
    done = run(*command.split())
    assert done.code == 0
    assert done.out or re.match("There are no |No app made a request in ", done.err)


@pytest.mark.parametrize(
    "command",
    [
        "app list",
        "app show {}",
        "account list",
        "account show ana",
        "token list",
        "status",
        "usage",
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["people", "json"])
def test_no_secret_is_printed(run, app, command, form):
    app_id, secrets = app
    key = run("platform-key", "issue", "feed", "--json").json()["platform_key"]
    done = run(*command.format(app_id).split(), *form)
    assert done.code == 0, done.err
    for secret in (*secrets, key):
        assert secret not in done.out + done.err


def test_apps_are_listed_with_state_and_limits(run, app):
    app_id, _ = app
    run("account", "add", "bob")
    waiting = run("app", "add", "Second", "--owner", "bob", "--json").json()["app_id"]
    rows = {row["app_id"]: row for row in run("app", "list", "--json").json()["apps"]}
    first = rows[app_id]
    assert (first["name"], first["owner"], first["state"]) == ("Dash", "ana", "enabled")
    assert (first["per_minute"], first["handles_contracted"], first["requests"]) == (50, 9, 0)
    assert rows[waiting]["state"] == "waiting"
    for options, ids in (
        (["--state", "waiting"], {waiting}),
        (["--state", "suspended"], set()),
        (["--owner", "BOB"], {waiting}),
        (["--owner", "ana", "--state", "enabled"], {app_id}),
    ):
        found = run("app", "list", *options, "--json").json()["apps"]
        assert {row["app_id"] for row in found} == ids


def test_an_app_is_shown(run, app):
    shown = run("app", "show", app[0], "--json").json()
    assert shown["name"] == "Dash"
    assert shown["owner"] == "ana"
    assert shown["state"] == "enabled"
    assert shown["callbacks"] == []
    assert shown["has_bearer_token"] is True
    assert shown["access_tokens"] == 1
    people = run("app", "show", app[0])
    assert people.code == 0
    assert len(people.out.splitlines()) == len(shown)


def test_accounts_are_listed_and_shown(run, app):
    run("account", "add", "bob", "--role", "manager", "--protected")
    rows = run("account", "list", "--json").json()["accounts"]
    assert [row["screen_name"] for row in rows] == ["ana", "bob"]
    managers = run("account", "list", "--role", "manager", "--json").json()["accounts"]
    assert [(row["screen_name"], row["protected"]) for row in managers] == [("bob", True)]
    run("account", "password", "ana", "--stdin")
    shown = run("account", "show", "ANA", "--json").json()
    assert (shown["id"], shown["screen_name"], shown["apps"]) == ("7", "ana", [app[0]])
    assert (shown["access_tokens"], shown["sessions"], shown["tweets"]) == (1, 0, 0)
    assert shown["has_password"] is False


def test_tokens_are_listed_and_revoked(run, app, refuses):
    app_id, _ = app
    (row,) = run("token", "list", "--json").json()["access_tokens"]
    assert (row["app_id"], row["app"], row["account"]) == (app_id, "Dash", "ana")
    assert row["last_used_at"] is None
    run("account", "add", "bob")
    assert run("token", "list", "--account", "bob", "--json").json()["access_tokens"] == []
    assert run("token", "list", "--app", "5", "--json").json()["access_tokens"] == []
    refuses("token", "revoke", app_id, "--account", "bob", says="has no access token of bob")
    refuses("token", "revoke", app_id, says="--account SCREEN_NAME, or --bearer")
    refuses("token", "revoke", app_id, "--account", "ana", "--bearer", says="name the token")
    refuses("token", "revoke", "5", "--bearer", says="there is no app")
    refuses("token", "revoke", app_id, "--account", "eve", says="there is no account eve")
    revoked = run("token", "revoke", app_id, "--account", "ana", "--json").json()
    assert revoked == {"app_id": app_id, "revoked": "access", "account": "ana"}
    assert run("token", "list", "--json").json()["access_tokens"] == []
    revoked = run("token", "revoke", app_id, "--bearer", "--json").json()
    assert revoked == {"app_id": app_id, "revoked": "bearer"}
    refuses("token", "revoke", app_id, "--bearer", says="has no bearer token")


def test_a_platform_key_is_rotated(run, data, refuses):
    old = run("platform-key", "issue", "feed", "--json").json()["platform_key"]
    made = run("platform-key", "rotate", "feed", "--json").json()
    assert made["platform_key"] != old
    assert made["old_revoked"] is True
    (only,) = run("platform-key", "list", "--json").json()["platform_keys"]
    assert (only["name"], only["id"] != made["old_id"]) == ("feed", True)
    kept = run("platform-key", "rotate", "feed", "--keep-old", "--json").json()
    assert kept["old_revoked"] is False
    assert len(run("platform-key", "list", "--json").json()["platform_keys"]) == 2
    refuses("platform-key", "rotate", "feed", says="2 platform keys are called feed")
    run("platform-key", "revoke", kept["old_id"])
    assert len(run("platform-key", "list", "--json").json()["platform_keys"]) == 1
    refuses("platform-key", "rotate", "nothing", says="there is no platform key nothing")


def test_usage_of_a_month(run, data, app, refuses):
    registry = open_registry(data)
    registry.usage.add_usage(
        {("2026-10", int(app[0]), "ok"): 5, ("2026-10", int(app[0]), "rate_limited"): 2},
        {("2026-10", int(app[0]), 7)},
    )
    registry.close()
    printed = run("usage", "--month", "2026-10", "--json").json()
    assert printed["month"] == "2026-10"
    (row,) = printed["apps"]
    assert (row["requests"], row["errors"], row["handles"]) == (7, {"rate_limited": 2}, 1)
    assert (row["name"], row["owner"], row["handles_contracted"]) == ("Dash", "ana", 9)
    refuses("usage", "--month", "october", says="write one as 2026-11")
    # A removed app is still on the bill.
    run("app", "remove", app[0], "--yes")
    (row,) = run("usage", "--month", "2026-10", "--json").json()["apps"]
    assert (row["name"], row["owner"], row["requests"]) == ("Dash", "ana", 7)


def test_status(run, data, app, tmp_path):
    tweets = tmp_path / "t.ndjson"
    tweets.write_text('{"id":"1","author_id":"7"}\n')
    run("load", "tweets", tweets)
    shown = run("status", "--json").json()
    assert shown["version"] == version("openengagement")
    assert shown["data"] == str(data.resolve())
    assert (shown["servers_running"], shown["accounts"], shown["apps"]) == (0, 1, 1)
    assert (shown["apps_enabled"], shown["apps_waiting"], shown["access_tokens"]) == (1, 0, 1)
    assert (shown["tweets"], shown["unfinished_erasures"]) == (1, [])
    assert shown["bytes"] > 0
    assert shown["bytes_free"] > 0
    people = run("status")
    assert len(people.out.splitlines()) == len(shown)
    assert re.search(r"^unfinished_erasures +none$", people.out, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("usage",),
        ("account", "list"),
        ("app", "list"),
        ("token", "list"),
        ("account", "show", "ana"),
        ("backup", "copy"),
        ("key", "rotate"),
        ("prune", "--older-than-days", "9"),
        ("app", "rotate", "1"),
        ("token", "revoke", "1", "--bearer"),
        ("platform-key", "list"),
        ("platform-key", "revoke", "feed"),
        ("platform-key", "rotate", "feed"),
        ("webhook", "list"),
        ("webhook", "show", "wh_x"),
        ("webhook", "deliveries"),
        ("webhook", "remove", "wh_x", "--yes"),
        ("webhook", "rotate", "wh_x"),
        ("webhook", "retry", "mail"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_wrong_folder_is_named_and_not_filled(run, data, command, exists):
    """Otherwise an operator in the wrong place would read zeros, and leave a new data folder."""
    if command[0] == "backup" and not exists:
        return  # it says that this is no folder
    if exists:
        data.mkdir()
        (data / "other.txt").touch()
    done = run(*command)
    assert (done.code, done.out) == (1, "")
    assert f"{data} is not a data folder; name the right one with --data" in done.err
    assert [path.name for path in data.glob("*")] == ["other.txt"] * exists


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("check",),
        ("backup", "copy"),
        ("restore", "/"),
        ("account", "add", "ana"),
    ],
)
def test_a_folder_that_this_user_cannot_reach_is_named(run, unreachable, command):
    with without_root():
        done = run(*command, folder=unreachable)
    assert (done.code, done.out) == (1, "")
    assert re.match(f"error: {unreachable}.*: Permission denied\n", done.err)


def test_a_copy_that_this_user_cannot_reach_is_named(run, unreachable):
    with without_root():
        done = run("backup", unreachable)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"error: {unreachable}: Permission denied\n"


def test_status_tells_the_last_backup(run, app, tmp_path):
    assert run("status", "--json").json()["last_backup"] is None
    assert re.search(r"^last_backup +none$", run("status").out, re.MULTILINE)
    before_s = int(time.time())
    assert run("backup", tmp_path / "copy").code == 0
    at = datetime.fromisoformat(run("status", "--json").json()["last_backup"])
    assert before_s <= at.timestamp() <= time.time()
    assert run("status", "--json", folder=tmp_path / "copy").json()["last_backup"] is None


def test_status_of_a_running_server(running):
    assert running.command("status")["servers_running"] == 1


def test_the_version():
    done = invoke("--version")
    assert (done.exit_code, done.stdout) == (0, f"openengagement {version('openengagement')}\n")


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("bash", {"COMP_WORDS": "openengagement tok", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "openengagement tok"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "openengagement tok",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_shell_completion(monkeypatch, shell, typed):
    """As the shell asks: first for the script, then for the words that fit what is typed."""
    variable = "_OPENENGAGEMENT_COMPLETE"
    monkeypatch.setenv(variable, f"source_{shell}")
    assert f"{variable}=complete_{shell}" in invoke().stdout
    monkeypatch.setenv(variable, f"complete_{shell}")
    for name, value in typed.items():
        monkeypatch.setenv(name, value)
    completed = invoke().stdout
    assert "token" in completed
    assert "status" not in completed


# Removing


def test_an_app_is_removed(run, app, refuses):
    app_id, _ = app
    refuses("app", "remove", app_id, says="--yes")
    assert run("app", "show", app_id).code == 0
    assert run("app", "remove", app_id, "--yes", "--json").json() == {
        "app_id": app_id,
        "name": "Dash",
    }
    for command in ("show", "remove", "enable", "suspend"):
        yes = ["--yes"] if command == "remove" else []
        refuses("app", command, app_id, *yes, says="there is no app")
    refuses("token", "issue", app_id, says="there is no app")
    next_id = run("app", "add", "Next", "--owner", "ana", "--json").json()["app_id"]
    assert int(next_id) == int(app_id) + 1


def test_accounts_are_removed(run, app, refuses, tmp_path):
    for name, number in (("bob", "8"), ("Carol", "9"), ("5", "55")):
        run("account", "add", name, "--id", number)
    tweets = tmp_path / "t.ndjson"
    tweets.write_text("".join(f'{{"id":"{n}","author_id":"7"}}\n' for n in (1, 2)))
    run("load", "tweets", tweets)
    refuses("account", "remove", "ana", says="--yes")
    refuses("account", "remove", "nobody", "--yes", says="there is no account nobody")
    refuses("account", "remove", "4711", "--yes", says="there is no account 4711")
    erased = run("account", "remove", "ANA", "9", "--yes", "--json").json()["erased_accounts"]
    assert erased == [
        {"id": "7", "tweets": 2, "apps": 1, "access_tokens": 1, "sessions": 0},
        {"id": "9", "tweets": 0, "apps": 0, "access_tokens": 0, "sessions": 0},
    ]
    left = run("account", "list", "--json").json()["accounts"]
    assert [row["screen_name"] for row in left] == ["5", "bob"]
    # A screen name of digits comes before an id.
    assert (
        run("account", "remove", "5", "--yes", "--json").json()["erased_accounts"][0]["id"] == "55"
    )
    refuses("account", "remove", "bob", "123", "--yes", says="the others were erased")
    assert run("account", "list", "--json").json()["accounts"] == []


def test_an_unfinished_erasure_is_shown_and_completed_by_its_id(run, data, app):
    registry = open_registry(data)
    from openengagement.registry.audit import COMMAND_LINE

    registry.removal.begin_erasure(7, actor=COMMAND_LINE, now_s=1, has_tweets=False)
    registry.close()
    assert run("status", "--json").json()["unfinished_erasures"] == ["7"]
    found = json.loads(run("doctor", "--json").out)
    assert not found["healthy"]
    assert any("account remove 7 --yes" in each["remedy"] for each in found["findings"])
    assert run("account", "remove", "7", "--yes").code == 0
    assert run("status", "--json").json()["unfinished_erasures"] == []
