"""The command `oe`, run as a user runs it."""

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

from misbehaving import KEYS, Misbehaving
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


@pytest.fixture
def oe(server, world, tmp_path):
    def call(*arguments, stdin="", status=0, **variables):
        environment = {
            **os.environ,
            "ENGAGEMENT_API_URL": server.url,
            **credentials(world.main),
            **variables,
        }
        done = subprocess.run(
            [sys.executable, "-m", "openengagement_client", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tmp_path,
            timeout=PATIENCE_S,
        )
        assert done.returncode == status, done.stderr or done.stdout
        return done

    return call


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


@pytest.mark.parametrize("name", ["x.csv", "x.ndjson", "x.parquet"])
def test_a_file(oe, tmp_path, name):
    done = oe("query", "totals", "111", "999", "--types", TYPES, "-o", name)
    assert done.stdout == ""
    assert done.stderr == "Tweets unavailable (unknown, deleted or protected): 1\n"
    assert (tmp_path / name).exists()
    if name == "x.parquet":
        assert pq.read_table(tmp_path / name)["count"].to_pylist() == [4, 2]
    oe("query", "totals", "111", "112", "--top", "1", "-o", name)
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
        (("query", "totals", "111", "--profile", "alice"), "profiles.toml"),
        (("query", "totals", "111", "--resume"), "name it with -o"),
        (("query", "totals", "111", "--resume", "-o", "x.csv"), "nothing is known"),
        (("send", "missing.ndjson"), "PLATFORM_KEY"),
    ],
)
def test_mistakes_are_one_line(oe, arguments, said):
    done = oe(*arguments, status=1)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sending(oe, world, tmp_path):
    line = '{"tweet_id": "112", "type": "replies", "at": "2024-05-01T09:15:00Z"}\n'
    (tmp_path / "events.ndjson").write_text(line * 5)
    with Server(world) as own:
        access = {"ENGAGEMENT_API_URL": own.url, "PLATFORM_KEY": world.platform_key}
        assert "5 events counted, 0 refused" in oe("send", "events.ndjson", **access).stdout
        again = oe("send", "events.ndjson", **access)
        assert "1 of 1 batches had been counted before" in again.stdout
        (tmp_path / "bad.ndjson").write_text(line + line.replace("replies", "claps"))
        refused = oe("send", "bad.ndjson", status=1, **access)
        assert "line 2: unknown_type" in refused.stderr
        counted = oe("query", "totals", "112", "--types", "replies", "--format", "json", **access)
    assert json.loads(counted.stdout)["counts"]["112"]["replies"] == "6"


def test_ctrl_c_keeps_what_is_done(tmp_path):
    """The same command with --resume goes on."""
    ids = [str(each) for each in range(1, 3001)]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    with Misbehaving(pause_s=0.2) as server:
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
            wait_for(lambda: len(server.bodies) > 8)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode != 0
        assert "add --resume to go on with x.csv" in err
        assert "Traceback" not in err
        server.pause_s, before = 0, len(server.bodies)
        subprocess.run(
            [*command, "--resume"], check=True, env=environment, cwd=tmp_path, timeout=PATIENCE_S
        )
        assert len(server.bodies) - before < 12
    rows = [line.split(",")[0] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]]
    assert rows == [each for each in ids for _ in range(2)]


def test_a_terminal_shows_a_bar(tmp_path):
    """It has the requests done, and the reason for a wait."""
    (tmp_path / "ids.txt").write_text("\n".join(str(each) for each in range(1, 3001)))
    ours, theirs = pty.openpty()
    with Misbehaving(limits={"minute": 3}, periods_s={"minute": 1}, pause_s=0.05) as server:
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
