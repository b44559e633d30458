"""Every command: its output with and without `--json`, and its effect."""

import json
import os
import re
import subprocess
from contextlib import closing
from datetime import datetime
from unittest.mock import patch

import pytest
from typer.main import get_command

from openengagement.cli.main import main
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.opening import open_registry
from support.cases import cases
from support.cli import EXECUTABLE, server_environment
from support.ports import free_port

KEYS = {
    "account add": {"id", "screen_name", "protected", "role"},
    "account role": {"screen_name", "role"},
    "app add": {"app_id", "consumer_key", "consumer_secret"},
    "app enable": {"app_id", "enabled", "per_minute", "handles_contracted", "suspended"},
    "app disable": {"app_id", "enabled", "per_minute", "handles_contracted", "suspended"},
    "app suspend": {"app_id", "suspended"},
    "app resume": {"app_id", "suspended"},
    "token issue": {"access_token", "access_token_secret"},
    "token bearer": {"access_token"},
    "platform-key issue": {"platform_key"},
    "platform-key revoke": {"id", "name", "created_at"},
    "load accounts": {"accepted", "rejected"},
    "load tweets": {"accepted", "rejected"},
    "load events": {"accepted", "rejected"},
}


FLAGS_AND_LIMITS = {"protected", "enabled", "suspended", "per_minute", "handles_contracted"}
APP_VERBS = ("enable", "disable", "suspend", "resume")


@pytest.fixture
def arguments(run, owned_app, tmp_path):
    """The arguments of every command."""
    files = {
        "accounts": '{"id":"1","screen_name":"bea"}\n',
        "tweets": '{"id":"1","author_id":"7"}\n',
        "events": '{"tweet_id":"1","type":"replies","at":"2026-01-01T00:00:00Z"}\n',
    }
    for kind, text in files.items():
        (tmp_path / f"{kind}.ndjson").write_text(text)
    run("platform-key", "issue", "old")
    return {
        "account add": ["bob"],
        "account role": ["ana", "manager"],
        "app add": ["Dash 2", "--owner", "ana"],
        "platform-key issue": ["feed"],
        "platform-key revoke": ["old"],
        **{f"load {kind}": [str(tmp_path / f"{kind}.ndjson")] for kind in files},
        **{f"app {verb}": [owned_app] for verb in APP_VERBS},
        **{f"token {verb}": [owned_app] for verb in ("issue", "bearer")},
    }


@pytest.mark.parametrize("name", KEYS)
def test_json_output_has_the_documented_fields(run, arguments, name):
    printed = run(*name.split(), *arguments[name], "--json").json()

    assert set(printed) == KEYS[name]
    for key, value in printed.items():
        if key in {"accepted", "rejected"}:
            assert isinstance(value, int)
        elif key not in FLAGS_AND_LIMITS:
            assert isinstance(value, str), f"{key}: {value!r}"
            assert value


@pytest.mark.parametrize("name", KEYS)
def test_output_for_people_has_one_line_per_field(run, arguments, name):
    done = run(*name.split(), *arguments[name])

    assert done.code == 0
    shown = dict(line.split(maxsplit=1) for line in done.out.splitlines())
    assert set(shown) == KEYS[name]
    assert "{" not in done.out


@pytest.mark.parametrize("name", ["account add", "app enable", "token issue", "load events"])
def test_the_json_option_may_precede_the_arguments(run, arguments, name):
    assert set(run(*name.split(), "--json", *arguments[name]).json()) == KEYS[name]


@pytest.mark.heavy
def test_the_installed_command_works(tmp_path):
    """The data folder comes from the option or from the environment."""
    data = tmp_path / "data"

    def command(*arguments, **more):
        return subprocess.run(
            [EXECUTABLE, *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=server_environment() | more,
        )

    first = command("--data", data, "account", "add", "ana", "--id", "7")
    second = command("app", "add", "Dash", "--owner", "ana", OPENENGAGEMENT_DATA=str(data))

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout)["id"] == "7"
    assert (second.returncode, second.stderr) == (0, "")
    assert set(json.loads(second.stdout)) == KEYS["app add"]
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "server.key").stat().st_mode & 0o777 == 0o600


def test_the_module_can_be_run_as_the_command(tmp_path):
    done = subprocess.run(
        [EXECUTABLE.with_name("python"), "-m", "openengagement", "--help"],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment(),
        cwd=tmp_path,
    )

    assert done.returncode == 0
    for name in ("serve", "sandbox", "account", "app", "token", "platform-key", "load"):
        assert name in done.stdout
    assert not list(tmp_path.iterdir()), "help must not create a folder"


# Accounts


def test_an_account_is_added(run):
    printed = run("account", "add", "Ana.B-2_ü", "--id", 2**63 - 1, "--protected", "--json").json()

    assert printed == {
        "id": str(2**63 - 1),
        "screen_name": "Ana.B-2_ü",
        "protected": True,
        "role": "member",
    }


def test_a_manager_is_added(run):
    assert run("account", "add", "boss", "--role", "manager", "--json").json()["role"] == "manager"


def test_account_ids_are_generated(run):
    ids = [run("account", "add", name, "--json").json()["id"] for name in ("a", "b", "c")]

    assert len(set(ids)) == 3
    assert all(0 < int(one) < 2**63 for one in ids)


def test_a_mail_address_is_set_and_removed(run, data):
    run("account", "add", "ana", "--mail", "ana@example.org")
    assert run("account", "show", "ana", "--json").json()["mail"] == "ana@example.org"
    printed = run("account", "mail", "ANA", "other@example.org", "--json").json()
    assert printed == {"screen_name": "ana", "mail": "other@example.org"}
    assert run("account", "mail", "ana", "", "--json").json()["mail"] is None
    assert run("account", "show", "ana", "--json").json()["mail"] is None


@cases("address", ["ana", "a b@example.org", "a@example.org\nBcc: b@c.example"])
def test_texts_that_are_no_mail_addresses(run, address):
    run("account", "add", "ana")
    for command in (("mail", "ana", address), ("add", "bea", "--mail", address)):
        done = run("account", *command)
        assert done.code == 1
        assert "is not a mail address" in done.err
    assert "bea" not in run("account", "list").out


def test_a_second_factor_that_is_not_there(run):
    run("account", "add", "ana")
    done = run("account", "remove-second-factor", "ana", "--yes")
    assert (done.code, "ana has no second factor" in done.err) == (1, True)
    assert run("account", "remove-second-factor", "ana").code == 1  # it asks, and nobody answers


# Apps and tokens


def test_apps_are_added(run, owned_app):
    callbacks = [part for port in range(10) for part in ("--callback", f"http://127.0.0.1:{port}/")]
    first = run("app", "add", "Dash", "--owner", "ANA", *callbacks, "--json").json()
    second = run("app", "add", "Dash", "--owner", "ana", "--json").json()

    assert int(owned_app) < int(first["app_id"]) < int(second["app_id"])
    assert first["consumer_key"] != second["consumer_key"]


def test_enabling_sets_limits_and_disabling_keeps_them(run, owned_app):
    limits = ("--per-minute", 12, "--handles", 500)
    access = {"app_id": owned_app, "per_minute": 12, "handles_contracted": 500, "suspended": False}
    enabled = run("app", "enable", owned_app, *limits, "--json").json()
    assert enabled == access | {"enabled": True}
    disabled = run("app", "disable", owned_app, "--json").json()
    assert disabled == access | {"enabled": False}
    again = run("app", "enable", owned_app, "--json").json()
    assert again == access | {"enabled": True}


def test_decisions_are_recorded_in_the_audit_log(run, data, owned_app):
    run("app", "enable", owned_app, "--per-minute", 12, "--handles", 500)
    for verb in ("suspend", "suspend", "resume", "disable"):
        run("app", verb, owned_app)
    run("account", "add", "boss", "--role", "manager")
    run("account", "role", "ana", "manager")
    assert run("account", "role", "ANA", "member", "--json").json()["screen_name"] == "ana"
    with closing(open_registry(data)) as registry:
        entries = registry.audit.list_entries(limit=100)
        assert registry.accounts.find_account("boss").role == "manager"
        assert registry.accounts.find_account("ana").role == "member"
    assert {(e.actor, e.actor_id) for e in entries} == {("command line", None)}
    assert [(e.action, e.subject, e.before, e.after) for e in reversed(entries)] == [
        ("enable", "Dash", "no", "yes"),
        ("limit", "Dash", None, "12"),
        ("handles", "Dash", None, "500"),
        ("suspend", "Dash", "no", "yes"),
        ("resume", "Dash", "yes", "no"),
        ("disable", "Dash", "yes", "no"),
        ("role", "boss", "member", "manager"),
        ("role", "ana", "member", "manager"),
        ("role", "ana", "manager", "member"),
    ]


def test_tokens_stay_the_same(run, owned_app):
    issued = [run("token", "issue", owned_app, "--json").json() for _ in range(2)]
    bearers = [run("token", "bearer", owned_app, "--json").json() for _ in range(2)]

    assert issued[0] == issued[1]
    assert issued[0]["access_token"].startswith("7-"), "of the app's owner"
    assert bearers[0] == bearers[1]


def test_every_platform_key_is_new(run):
    keys = {run("platform-key", "issue", "feed", "--json").json()["platform_key"] for _ in "abc"}

    assert len(keys) == 3


def listed(run):
    return run("platform-key", "list", "--json").json()["platform_keys"]


def test_platform_keys_are_listed(run):
    """Several keys may have one name; ids tell them apart. No key is shown again."""
    keys = [run("platform-key", "issue", name, "--json").json() for name in ("a", "b", "b")]
    rows = listed(run)

    assert sorted(row["name"] for row in rows) == ["a", "b", "b"]
    assert len({row["id"] for row in rows}) == 3
    assert {row["last_used_at"] for row in rows} == {None}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created_at"]) for row in rows)
    shown = run("platform-key", "list")
    assert shown.code == 0
    for row, line in zip(rows, shown.out.splitlines(), strict=True):
        assert line.startswith(f"{row['id']}  issued {row['created_at']}  never used ")
        assert line.endswith(f"  {row['name']}")
    assert not any(key["platform_key"] in shown.out for key in keys)


@pytest.mark.usefixtures("owned_app")
def test_a_folder_without_platform_keys(run):
    assert listed(run) == []
    shown = run("platform-key", "list")
    assert (shown.code, shown.out, shown.err) == (0, "", "There are no platform keys.\n")


def test_a_platform_key_is_revoked_by_its_name_or_id(run, data):
    for name in ("a", "b", "c"):
        run("platform-key", "issue", name)
    ids = {row["name"]: row["id"] for row in listed(run)}

    assert run("platform-key", "revoke", "a", "--json").json()["id"] == ids["a"]
    assert run("platform-key", "revoke", ids["b"], "--json").json()["name"] == "b"
    assert [row["name"] for row in listed(run)] == ["c"]
    with closing(open_registry(data)) as registry:
        entries = registry.audit.list_entries(limit=9)[::-1]
    assert {each.actor for each in entries} == {COMMAND_LINE.name}
    assert [(each.action, each.subject, each.before) for each in entries] == [
        *(("issue_key", name, ids[name]) for name in ("a", "b", "c")),
        *(("revoke_key", name, ids[name]) for name in ("a", "b")),
    ]


def test_an_ambiguous_name_revokes_no_platform_key(run, refuses):
    for _ in range(2):
        run("platform-key", "issue", "feed")
    first, second = (row["id"] for row in listed(run))

    refuses("platform-key", "revoke", "feed", says=f"by its id: {first}, {second}")
    assert len(listed(run)) == 2
    assert run("platform-key", "revoke", second).code == 0
    assert run("platform-key", "revoke", "feed", "--json").json()["id"] == first


def test_an_unknown_platform_key_is_not_revoked(run, refuses):
    run("platform-key", "issue", "feed")
    for key in ("nothing", "", "Feed", "fee", "%", "0" * 12):
        refuses("platform-key", "revoke", key, says="there is no platform key")
        assert len(listed(run)) == 1, key


@pytest.mark.usefixtures("owned_app")
@cases("name", ["", "x" * 129, "a\nb", " a", "a ", "\x1b[31m", "\u202e"])
def test_a_platform_key_needs_a_printable_name(run, refuses, name):
    refuses("platform-key", "issue", name, says="printable characters")
    assert listed(run) == []


# Errors


@pytest.fixture
def refuses(run, data):
    """Run a command that must fail with an error text and no other output."""

    def refused(*arguments, says, code=1, folder=data):
        for more in ([], ["--json"]):
            done = run(*arguments, *more, folder=folder)
            assert done.code == code, done.err
            assert done.out == ""
            assert "Traceback" not in done.err
            unfolded = " ".join(done.err.replace("│", " ").split())
            assert says in unfolded, unfolded
        return unfolded

    return refused


@cases("name", ["", "a b", "x" * 65, "a/b", "<a>", "@ana", "a\n", "a\0b"])
def test_invalid_screen_names_are_refused(refuses, name):
    refuses("account", "add", name, says="is not 1 to 64 letters")


@cases("name", ["[/b]", "[red]", "[link=x]a[/link]", "\\[a]"])
def test_screen_names_that_look_like_markup_are_printed_unchanged(refuses, name):
    assert repr(name) in refuses("account", "add", name, says="is not 1 to 64 letters")


@cases("name", ["[/b]", "[bold]x"])
def test_owners_that_look_like_markup_are_printed_unchanged(refuses, name):
    refuses("app", "add", "Dash", "--owner", name, says=f"there is no account {name}")


@cases("arguments", [["ana"], ["ANA"], ["bob", "--id", "7"]], ids=["name", "letters", "id"])
def test_existing_accounts_are_refused(refuses, owned_app, arguments):
    refuses("account", "add", *arguments, says="already registered")


@cases("number", ["0", "-1", str(2**63), "x", "1.5"])
def test_invalid_account_ids_are_refused(refuses, number):
    refuses("account", "add", "bob", "--id", number, says="--id", code=2)


def test_invalid_roles_are_refused(refuses):
    refuses("account", "add", "bob", "--role", "king", says="--role", code=2)
    refuses("account", "role", "bob", "king", says="'king' is not one of", code=2)
    refuses("account", "role", "bob", "manager", says="there is no account bob")


def test_an_app_without_an_owner_is_refused(refuses):
    refuses("app", "add", "Dash", says="--owner", code=2)
    refuses("app", "add", "Dash", "--owner", "nobody", says="openengagement account add nobody")


@cases(("name", "says"), [("", "name"), ("  ", "name"), ("x" * 129, "128")])
def test_invalid_app_names_are_refused(refuses, owned_app, name, says):
    refuses("app", "add", name, "--owner", "ana", says=says)


def test_too_many_callbacks_are_refused(refuses, owned_app):
    many = [part for port in range(11) for part in ("--callback", f"http://127.0.0.1:{port}/")]
    refuses("app", "add", "Dash", "--owner", "ana", *many, says="at most 10")


@cases("command", [["app", "enable"], ["app", "disable"], ["token", "issue"], ["token", "bearer"]])
def test_unknown_apps_are_refused(refuses, command):
    refuses(*command, 99, says="there is no app with App ID 99")
    for number in ("0", str(2**63), "x"):
        refuses(*command, number, says="APP_ID", code=2)


@cases("limit", ["0", "-1", "10000001", "x"])
def test_invalid_rate_limits_are_refused(refuses, owned_app, limit):
    refuses("app", "enable", owned_app, "--per-minute", limit, says="--per-minute", code=2)


def test_every_command_and_parameter_has_a_help_text():
    def look(command, path):
        for each in command.params:
            assert getattr(each, "help", None), f"{path}: {each.name}"
        for name, below in getattr(command, "commands", {}).items():
            assert below.help, f"{path} {name}"
            look(below, f"{path} {name}")

    look(get_command(main), "openengagement")


def test_disabling_takes_no_rate_limit(refuses, owned_app):
    refuses("app", "disable", owned_app, "--per-minute", 5, says="No such option", code=2)


@cases("command", [["nonsense"], ["app", "nonsense"], ["load"], ["token"]])
def test_unknown_commands_are_refused(run, command):
    done = run(*command, "--json")

    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_setting_allows_other_callback_schemes(run, monkeypatch):
    run("account", "add", "ana")
    tides = ("app", "add", "Tides", "--owner", "ana", "--callback", "tides://x", "--json")
    refused = run(*tides)
    assert (refused.code, refused.out) == (1, "")
    assert "scheme tides is not allowed; allowed are: https, http, reverse domain" in refused.err
    monkeypatch.setenv("OPENENGAGEMENT_CALLBACK_SCHEMES", "https, tides")
    assert run(*tides).code == 0
    assert run(*tides[:-2], "http://127.0.0.1/", "--json").code == 1
    monkeypatch.setenv("OPENENGAGEMENT_CALLBACK_SCHEMES", "https, javascript")
    broken = run(*tides)
    assert (broken.code, broken.out) == (1, "")
    assert (
        "OPENENGAGEMENT_CALLBACK_SCHEMES: a browser runs or opens javascript itself" in broken.err
    )


def test_serve_names_apps_with_callbacks_that_it_would_refuse(run, data, monkeypatch):
    run("account", "add", "ana")
    with monkeypatch.context() as allowing:
        allowing.setenv("OPENENGAGEMENT_CALLBACK_SCHEMES", "https, tides")
        made = run("app", "add", "T", "--owner", "ana", "--callback", "tides://x", "--json").json()
        run("app", "add", "W", "--owner", "ana", "--callback", "https://x.example")
    with patch.object(os, "execv", side_effect=SystemExit):  # it would become the supervisor
        lines = run("serve", "--port", free_port()).err.splitlines()
    assert lines[0].startswith(f"warning: app {made['app_id']} has a callback URL with the scheme")
    assert "'tides'" in lines[0]
    assert "it keeps working" in lines[0]
    assert lines[1].startswith("starting openengagement")


def test_serve_and_sandbox_explain_invalid_options(run, tmp_path):
    certificate = tmp_path / "cert.pem"
    certificate.write_text("x")
    for arguments, says in (
        (["serve", "--tls-cert", certificate], "together"),
        (["sandbox", "--no-simulated"], "--higgs"),
    ):
        done = run(*arguments)
        assert done.code == 1
        assert says in done.err
        assert "Traceback" not in done.err


def test_an_unusable_data_folder_is_named_in_the_error(refuses, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    refuses("platform-key", "issue", "x", says="--data", code=2, folder=file)
    refuses("platform-key", "issue", "x", says=str(file.name), folder=file / "data")


@pytest.mark.parametrize("name", ["registry.sqlite3", "counters.sqlite3"])
def test_a_damaged_database_is_an_error_without_a_traceback(refuses, run, data, name):
    run("platform-key", "issue", "x")
    for part in data.glob(f"{name}*"):
        part.unlink()
    (data / name).write_bytes(b"this is not a database, although its name says so" * 100)

    refuses("platform-key", "issue", "x", says=str(data.name))


def test_an_unusable_key_file_is_explained(refuses, run, data):
    run("platform-key", "issue", "x")
    key = data / "server.key"
    key.chmod(0o644)
    refuses("platform-key", "issue", "x", says="chmod 600")
    key.chmod(0o600)
    key.write_text("x\n")
    refuses("platform-key", "issue", "x", says="is not a key file")


def test_secrets_of_another_key_are_an_error(refuses, run, data, owned_app):
    run("token", "issue", owned_app)
    (data / "server.key").write_text(run("key", "generate").out)

    refuses("token", "issue", owned_app, says="cannot decrypt any secret")


# Settings


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OPENENGAGEMENT_NO_SUCH_THING", "1", "OPENENGAGEMENT_NO_SUCH_THING is not a setting"),
        ("OPENENGAGEMENT_", "1", "is not a setting"),
        ("OPENENGAGEMENT_rate_limit_per_minute", "1", "is not a setting"),
        ("OPENENGAGEMENT_THREADS", "0", "OPENENGAGEMENT_THREADS: write a whole number from 1"),
        ("OPENENGAGEMENT_THREADS", "", "OPENENGAGEMENT_THREADS"),
        ("OPENENGAGEMENT_REPLAY_PROTECTION", "lax", "strict, oauth, off"),
        ("OPENENGAGEMENT_REQUIRE_GZIP", "yes", "true or false"),
        ("OPENENGAGEMENT_TRUSTED_PROXIES", "here", "OPENENGAGEMENT_TRUSTED_PROXIES"),
        ("OPENENGAGEMENT_HISTORICAL_FLOOR", "2014", "YYYY-MM-DD"),
    ],
)
@pytest.mark.parametrize("command", [["platform-key", "issue", "x"], ["account", "add", "x"]])
def test_invalid_settings_stop_every_command(
    refuses, monkeypatch, data, command, name, value, says
):
    monkeypatch.setenv(name, value)
    refuses(*command, says=says)


@pytest.mark.parametrize("command", ["serve", "sandbox"])
def test_invalid_settings_stop_the_server(refuses, monkeypatch, command):
    monkeypatch.setenv("OPENENGAGEMENT_NO_SUCH_THING", "1")
    refuses(command, "--port", "1", says="OPENENGAGEMENT_NO_SUCH_THING is not a setting")


def test_scopes_and_expiry_of_platform_keys(run):
    run("platform-key", "issue", "all")
    options = ("--scope", "usage", "--scope", "events", "--scope", "usage", "--expires-days", "30")
    run("platform-key", "issue", "some", *options)
    rows = {row["name"]: row for row in listed(run)}
    assert rows["all"]["scopes"] == ["events", "accounts", "usage"]
    assert rows["all"]["expires_at"] is None
    assert rows["some"]["scopes"] == ["events", "usage"]
    assert days_of(rows["some"]) == 30
    lines = run("platform-key", "list").out.splitlines()
    some = next(line for line in lines if line.endswith("  some"))
    assert f"  events usage, expires {rows['some']['expires_at']}  some" in some
    assert next(line for line in lines if line.endswith("  all")).endswith("  all scopes  all")


def test_a_rotated_platform_key_keeps_its_scopes_and_its_days(run):
    run("platform-key", "issue", "x", "--scope", "accounts", "--expires-days", "7")
    run("platform-key", "rotate", "x")
    (row,) = listed(run)
    assert (row["scopes"], days_of(row)) == (["accounts"], 7)
    run("platform-key", "rotate", "x", "--expires-days", "90")
    (row,) = listed(run)
    assert (row["scopes"], days_of(row)) == (["accounts"], 90)


@pytest.mark.usefixtures("owned_app")
@pytest.mark.parametrize(
    "options",
    [("--scope", "all"), ("--scope", ""), ("--expires-days", "0"), ("--expires-days", "x")],
)
def test_other_scopes_and_days_are_refused(run, options):
    assert run("platform-key", "issue", "x", *options).code == 2
    assert listed(run) == []


def days_of(row):
    """The days for which a key is valid, from its issue."""
    begin, end = (datetime.fromisoformat(row[name]) for name in ("created_at", "expires_at"))
    return round((end - begin).total_seconds() / 86_400, 3)
