"""The command `oe`: in this process or, where that matters, in a process of its own."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, suppress
from dataclasses import dataclass
from importlib import util
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

import click
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from misbehaving import KEYS, Misbehaving
from openengagement_client.command_line import output
from openengagement_client.command_line.main import main
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

TYPES = "favorites,retweets"


def credentials(app):
    return {
        "CONSUMER_KEY": app.consumer_key,
        "CONSUMER_SECRET": app.consumer_secret,
        "ACCESS_TOKEN": app.access_token,
        "ACCESS_TOKEN_SECRET": app.access_token_secret,
    }


@click.command(add_help_option=False)
def command():
    """Run `oe` with the arguments in `sys.argv`. As a command, so that a `CliRunner` runs it."""
    main()


@dataclass
class Done:
    """What a command printed, as text or bytes, and its exit code."""

    returncode: int
    stdout: Any
    stderr: Any


def run_here(arguments, *, stdin, environment, folder, text):
    """Run `oe` in this process, which saves the imports: half a second."""
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", ["oe", *arguments]),
        chdir(folder),
    ):
        done = CliRunner().invoke(command, [], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    printed = done.stdout_bytes, done.stderr_bytes
    return Done(done.exit_code, *(each.decode() if text else each for each in printed))


def run_process(arguments, *, stdin, environment, folder, text):
    return subprocess.run(
        [sys.executable, "-m", "openengagement_client", *arguments],
        input=stdin if text else stdin.encode(),
        capture_output=True,
        text=text,
        check=False,
        env=environment,
        cwd=folder,
        timeout=PATIENCE_S,
    )


def make_oe(run, server, world, folder):
    def call(*arguments, stdin="", status=0, text=True, **variables):
        environment = {
            **os.environ,
            "COLUMNS": "80",
            "ENGAGEMENT_API_URL": server.url,
            **credentials(world.main),
            **variables,
        }
        done = run(arguments, stdin=stdin, environment=environment, folder=folder, text=text)
        assert done.returncode == status, done.stderr or done.stdout
        return done

    return call


@pytest.fixture
def oe(server, world, tmp_path):
    """The command, in this process."""
    return make_oe(run_here, server, world, tmp_path)


@pytest.fixture
def oe_process(server, world, tmp_path):
    """The command, in a process of its own."""
    return make_oe(run_process, server, world, tmp_path)


def test_the_version(oe_process):
    assert (
        oe_process("--version").stdout
        == f"openengagement-client {version('openengagement-client')}\n"
    )


def test_totals_as_a_table(oe):
    done = oe("query", "totals", "111", "112", "211", "999", "--types", TYPES)
    lines = done.stdout.splitlines()
    assert [line.strip("│┃ ").split() for line in lines if "111" in line] == [
        ["111", "│", "4", "│", "2"]
    ]
    assert done.stderr.splitlines() == [
        "Tweets unavailable (unknown, deleted or protected): 1 (999)",
        "Tweets of another author than the access token's user: 1 (211)",
    ]
    assert oe("query", "totals", "111", "211", "-q").stderr == ""


def test_the_other_formats(oe):
    asked = ("query", "totals", "111", "112", "--types", TYPES, "--format")
    assert json.loads(oe(*asked, "json").stdout) == {
        "counts": {
            "111": {"favorites": "4", "retweets": "2"},
            "112": {"favorites": "0", "retweets": "1"},
        }
    }
    header, *rows = csv.reader(io.StringIO(oe(*asked, "csv").stdout))
    assert header == ["tweet_id", "engagement_type", "count"]
    assert rows[0] == ["111", "favorites", "4"]
    lines = [json.loads(line) for line in oe(*asked, "ndjson").stdout.splitlines()]
    assert lines[-1] == {"tweet_id": "112", "engagement_type": "retweets", "count": 1}


def test_tweets_from_files_and_standard_input(oe, tmp_path):
    (tmp_path / "ids.csv").write_text("Tweet id,text\n112,x\n")
    (tmp_path / "tweets.js").write_text('window.YTD.tweets.part0 = [{"tweet": {"id": "113"}}]')
    asked = ("query", "totals", "111", "-", "-f", "ids.csv", "-f", "tweets.js", "--format", "json")
    assert list(json.loads(oe(*asked, stdin="118\n114\n").stdout)["counts"]) == [
        *("111", "118", "114", "112", "113")
    ]


def test_the_top(oe):
    asked = ("query", "totals", "112", "113", "111", "--top", "2", "--format", "json")
    assert list(json.loads(oe(*asked).stdout)["counts"]) == ["111", "113"]


def test_historical_by_day(oe):
    window = ("--start", "2024-04-01", "--end", "2024-06-01")
    asked = ("query", "historical", "111", "--types", TYPES, "--by", "day", *window)
    days = json.loads(oe(*asked, "--format", "json").stdout)["counts"]["111"]["favorites"]
    assert len(days) == 61
    assert days["2024-05-01"] == "4"
    lines = oe(*asked).stdout.splitlines()
    assert [line.strip("│ ").split("│")[2].strip() for line in lines if "2024-05-01" in line] == [
        "4"
    ]


def test_parquet_on_standard_output(oe):
    asked = ("query", "totals", "111", "112", "--types", TYPES, "--format", "parquet")
    table = pq.read_table(io.BytesIO(oe(*asked, text=False).stdout))
    assert table.column_names == ["tweet_id", "engagement_type", "count"]
    assert table["count"].to_pylist() == [4, 2, 0, 1]


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet", "json", "table"])
def test_the_format_of_a_file_with_any_ending(oe, tmp_path, format):
    asked = ("query", "totals", "111", "--types", TYPES, "--format", format)
    printed = oe(*asked, text=False).stdout
    oe(*asked, "-o", "x.data")
    written = (tmp_path / "x.data").read_bytes()
    if format == "parquet":
        assert pq.read_table(io.BytesIO(written)) == pq.read_table(io.BytesIO(printed))
    else:
        assert written == printed
    assert [each.name for each in tmp_path.iterdir()] == ["x.data"]


def test_a_file_without_tweets(oe, tmp_path):
    oe("query", "totals", "111", "112", "--group-by", "engagement.type", "-o", "x.csv")
    assert (tmp_path / "x.csv").read_text().splitlines()[:2] == [
        "engagement_type,count",
        "favorites,4",
    ]


def test_a_wide_table_is_whole_in_a_pipe(oe):
    kinds = "impressions,engagements,favorites,retweets,replies,video_views,url_clicks,user_follows"
    header = oe("query", "28hr", "111", "--by", "hour", "--types", kinds).stdout.splitlines()[1]
    assert [name for name in kinds.split(",") if name not in header] == []


WINDOW = ("--start", "2024-04-20", "--end", "2024-06-10")


def test_a_plot_over_time_on_the_terminal(oe):
    """The days of a Tweet as lines, which are told apart without colours."""
    done = oe("query", "historical", "111", "--types", "impressions,favorites", *WINDOW, "--plot")
    assert "\x1b" not in done.stdout
    assert "time (UTC)" in done.stdout
    assert "⠤*⠤ impressions" in done.stdout
    assert "⠤o⠤ favorites" in done.stdout
    largest = float(done.stdout.splitlines()[1].split("|")[0])
    assert 23 <= largest < 30  # impressions of 2024-05-01


def test_a_plot_of_tweets_with_one_type_has_a_line_for_each(oe):
    done = oe("query", "historical", "111", "112", "--types", "favorites", *WINDOW, "--plot")
    assert done.stdout.startswith("favorites\n")
    assert "⠤*⠤ 111" in done.stdout
    assert "⠤o⠤ 112" in done.stdout


def test_a_plot_of_totals_has_bars(oe):
    lines = oe("query", "totals", "111", "112", "--types", TYPES, "--plot").stdout.splitlines()
    found = [line.split() for line in lines]
    assert [cells[-3:-1] if "█" in cells[-1] else cells[-2:] for cells in found] == [
        ["favorites", "4"],
        ["retweets", "2"],
        ["favorites", "0"],
        ["retweets", "1"],
    ]
    assert len(found[0][-1]) == 2 * len(found[1][-1].rstrip())


@pytest.mark.heavy
@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("endpoint", ["totals", "28hr", "historical"])
def test_a_picture(oe_process, tmp_path, endpoint, suffix):
    asked = ("query", endpoint, "111", "112", "--types", "favorites,video_views", "--plot")
    hours = set()
    while len(hours) != 1:  # of the last 28 hours, pictures of two hours differ
        hours = {time.time() // 3600}
        for name in ("one", "other"):
            assert oe_process(*asked, "-o", f"{name}.{suffix}").stdout == ""
        hours.add(time.time() // 3600)
    data = (tmp_path / f"one.{suffix}").read_bytes()
    if suffix == "png":
        assert data.startswith(b"\x89PNG\r\n")
        assert data == (tmp_path / "other.png").read_bytes()
    else:
        text = data.decode()
        assert "<svg" in text
        for shown in ("favorites", "video_views", "count"):
            assert f"<!-- {shown} -->" in text
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"one.{suffix}", f"other.{suffix}"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["x.csv", "x.ndjson", "x.parquet"])
def test_a_file(oe_process, tmp_path, name):
    done = oe_process("query", "totals", "111", "999", "--types", TYPES, "-o", name)
    assert done.stdout == ""
    assert done.stderr == "Tweets unavailable (unknown, deleted or protected): 1\n"
    assert (tmp_path / name).exists()
    if name == "x.parquet":
        assert pq.read_table(tmp_path / name)["count"].to_pylist() == [4, 2]
    oe_process("query", "totals", "111", "112", "--top", "1", "-o", name)
    assert "112" not in (tmp_path / name).read_bytes().decode(errors="replace")


def test_the_app_alone(oe):
    asked = ("query", "totals", "211", "--app-only", "--format", "json", "--types", "favorites")
    assert json.loads(oe(*asked).stdout) == {"counts": {"211": {"favorites": "6"}}}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("query", "totals"), "no Tweets"),
        (("query", "totals", "abc"), "'abc' is not the id of a Tweet"),
        (("query", "totals", "111", "-f", "missing.csv"), "cannot read missing.csv"),
        (("query", "totals", "111", "--start", "2024-01-01"), "--start and --end"),
        (("query", "historical", "111", "--start", "soon"), "'soon' is not a time"),
        (("query", "totals", "111", "--by", "day"), "groupBys"),
        (("query", "totals", "111", "-o", "x.xlsx"), "must end with"),
        (("query", "totals", "111", "-o", "missing/x.csv"), "there is no folder missing"),
        (("query", "totals", "111", "-o", "x.png"), "add --plot"),
        (("query", "totals", "111", "--plot", "-o", "x.csv"), "must end with one of .png, .svg"),
        (("query", "totals", "111", "--plot", "--format", "csv"), "leave --format out"),
        (("query", "totals", "999", "--plot"), "no counts to draw"),
        (("query", "totals", "111", "--top", "1", "--group-by", "engagement.type"), "--top needs"),
        (("query", "totals", "-"), "the list is empty"),
        (("query", "totals", "-f", "."), "cannot read .: Is a directory"),
        (("query", "totals", "-f", "/proc/self/exe"), "not text in UTF-8"),
        (("query", "totals", "111", "--types", "claps"), "claps"),
        (("query", "totals", "111", "--profile", "alice"), "profiles.toml"),
        (("query", "totals", "111", "--resume"), "name it with -o"),
        (("query", "totals", "111", "--resume", "-o", "x.csv"), "nothing is known"),
        (("query", "totals", "111", "--resume", "-o", "x.parquet"), "nothing is known"),
        (("query", "totals", "111", "--resume", "--top", "1", "-o", "x.csv"), "CSV or NDJSON"),
        (("send", "missing.ndjson"), "PLATFORM_KEY"),
    ],
)
def test_mistakes_are_one_line(oe, arguments, said):
    done = oe(*arguments, status=1)
    assert said in done.stderr
    *excluded, last = done.stderr.splitlines()
    assert last.startswith("oe: ")
    assert not [line for line in excluded if not line.startswith("Tweets unavailable")]


@pytest.mark.heavy
def test_sending(oe_process, world, tmp_path):
    line = '{"tweet_id": "112", "type": "replies", "at": "2024-05-01T09:15:00Z"}\n'
    (tmp_path / "events.ndjson").write_text(line * 5)
    with Server(world) as own:
        access = {"ENGAGEMENT_API_URL": own.url, "PLATFORM_KEY": world.platform_key}
        assert "5 events counted, 0 refused" in oe_process("send", "events.ndjson", **access).stdout
        again = oe_process("send", "events.ndjson", **access)
        assert "1 of 1 batches had been counted before" in again.stdout
        (tmp_path / "bad.ndjson").write_text(line + line.replace("replies", "claps"))
        refused = oe_process("send", "bad.ndjson", status=1, **access)
        assert "line 2: unknown_type" in refused.stderr
        counted = oe_process(
            "query", "totals", "112", "--types", "replies", "--format", "json", **access
        )
    assert json.loads(counted.stdout)["counts"]["112"]["replies"] == "6"


@pytest.mark.heavy
def test_registering(oe_process, world, tmp_path):
    (tmp_path / "accounts.ndjson").write_text('{"id": 77, "screen_name": "erin"}\n')
    tweets = ['{"id": 5001, "author_id": 101}', '{"id": 0, "author_id": 101}']
    (tmp_path / "tweets.ndjson").write_text("\n".join(tweets))
    with Server(world) as own:
        access = {"ENGAGEMENT_API_URL": own.url, "PLATFORM_KEY": world.platform_key}
        done = oe_process("register", "accounts", "accounts.ndjson", **access)
        assert done.stdout == "1 accounts registered, 0 refused\n"
        done = oe_process("register", "tweets", "tweets.ndjson", status=1, **access)
        assert done.stdout == "1 Tweets registered, 1 refused\n"
        assert done.stderr.startswith("line 2: invalid_id: ")
        missing = oe_process("register", "tweets", "no.ndjson", status=1, **access)
        assert missing.stderr == "oe: cannot read no.ndjson: No such file or directory\n"
        found = oe_process(
            "query", "totals", "5001", "--types", "favorites", "--format", "json", **access
        )
    assert json.loads(found.stdout)["counts"] == {"5001": {"favorites": "0"}}


@pytest.mark.heavy
def test_ctrl_c_keeps_what_is_done(tmp_path):
    """The same command with --resume goes on."""
    ids = [str(each) for each in range(1, 3001)]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    with Misbehaving(faults=deque([*[""] * 8, *["held"] * 4])) as server:
        environment = {
            **os.environ,
            "ENGAGEMENT_API_URL": server.url,
            **{name.upper(): value for name, value in KEYS.items()},
        }
        command = [sys.executable, "-m", "openengagement_client", "query", "totals"]
        command += ["-f", "ids.txt", "-o", "x.csv", "--types", TYPES]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ) as process:
            wait_for(lambda: not server.faults)  # four requests have no answer
            process.send_signal(signal.SIGINT)
            server.go_on.set()
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode != 0
        assert "add --resume to go on with x.csv" in err
        assert "Traceback" not in err
        before = len(server.bodies)
        subprocess.run(
            [*command, "--resume"], check=True, env=environment, cwd=tmp_path, timeout=PATIENCE_S
        )
        assert len(server.bodies) - before < 12
    rows = [line.split(",")[0] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]]
    assert rows == [each for each in ids for _ in range(2)]


@pytest.mark.heavy
def test_ctrl_c_without_a_file_says_how_to_lose_nothing(tmp_path):
    with Misbehaving(faults=deque([*[""] * 4, *["held"] * 8])) as server:
        environment = {
            **os.environ,
            "ENGAGEMENT_API_URL": server.url,
            **{name.upper(): value for name, value in KEYS.items()},
        }
        command = [sys.executable, "-m", "openengagement_client", "query", "totals"]
        command += [str(each) for each in range(1, 3001)]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ) as process:
            wait_for(lambda: len(server.faults) <= 4)  # four requests have no answer
            process.send_signal(signal.SIGINT)
            server.go_on.set()
            _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    assert "only a query for a file (-o) can go on" in err
    assert "Traceback" not in err


@pytest.mark.heavy
def test_a_terminal_shows_a_bar(tmp_path):
    """It has the requests done, and the reason for a wait."""
    (tmp_path / "ids.txt").write_text("\n".join(str(each) for each in range(1, 3001)))
    ours, theirs = pty.openpty()
    with Misbehaving(faults=deque(["later"] * 4), pause_s=0.05) as server:
        environment = {
            **os.environ,
            "ENGAGEMENT_API_URL": server.url,
            **{name.upper(): value for name, value in KEYS.items()},
            "TERM": "xterm",
            "COLUMNS": "120",
        }
        command = [sys.executable, "-m", "openengagement_client", "query", "totals"]
        command += ["-f", "ids.txt", "--types", TYPES, "--format", "csv"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=theirs, env=environment, cwd=tmp_path
        )
        os.close(theirs)
        reader = ThreadPoolExecutor(1).submit(process.communicate)
        shown = b""
        with suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        out, _ = reader.result(PATIENCE_S)
    assert process.returncode == 0
    assert len(out.splitlines()) == 6001
    assert b"/12" in shown
    assert b"requests" in shown
    assert b"rate limit" in shown


def test_the_end_of_a_pipe_is_no_fault(server, world, tmp_path):
    """As in `oe ... | head -1`."""
    environment = {**os.environ, "ENGAGEMENT_API_URL": server.url, **credentials(world.main)}
    command = f"{sys.executable} -m openengagement_client query historical 111 --by hour"
    command += " --start 2020-01-01 --end 2024-01-01 --format csv | head -1"
    done = subprocess.run(
        command, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "tweet_id,engagement_type,day,hour,count\n"
    assert done.stderr == ""


def test_text_of_the_server_does_not_control_the_terminal(tmp_path):
    with Misbehaving(faults=deque(["control"])) as server:
        environment = {
            **os.environ,
            "ENGAGEMENT_API_URL": server.url,
            **{name.upper(): value for name, value in KEYS.items()},
        }
        asked = ("query", "totals", "1")
        done = run_here(asked, stdin="", environment=environment, folder=tmp_path, text=True)
    assert done.returncode == 1
    assert "\\x1b]0;owned" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_missing_typer_is_named(tmp_path):
    code = "import sys; sys.modules['typer'] = None; sys.argv[0] = 'oe'\n"
    code += "from openengagement_client.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "openengagement-client[cli]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("plotille", ("query", "totals", "1", "--plot"), "openengagement-client[plot]"),
        ("matplotlib", ("query", "totals", "1", "--plot", "-o", "x.svg"), "client[plot]"),
        ("pyarrow", ("query", "totals", "1", "-o", "x.parquet"), "openengagement-client[frames]"),
    ],
)
def test_a_library_that_is_not_installed_is_named(tmp_path, monkeypatch, module, arguments, said):
    """Before anything is requested, and before the URL of a server is looked for."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        output, "find_spec", lambda name: None if name == module else util.find_spec(name)
    )
    environment = dict(os.environ)
    done = run_here(arguments, stdin="", environment=environment, folder=tmp_path, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
