"""The snippets of the keys page, copied and run without changes."""

import calendar
import json
import shutil
import subprocess
import sys
import time

import pytest

from support.developer import act, create, env_on, keys_path
from support.flows import PASSWORD
from support.person import Person
from support.waiting import PATIENCE_S
from support.world import HOUR_S, RECENT, recent_count


@pytest.fixture(scope="module")
def developer(server, passwords):
    with Person(server.url, "alice", PASSWORD) as person:
        person.sign_in()
        yield person


@pytest.fixture(scope="module")
def made(developer):
    """The App ID of a new app, and its `.env`, collected from the page after every button."""
    app_id, page = create(developer)
    env = env_on(page)
    for action in ("generate_bearer", "generate_token"):
        page = act(developer, app_id, action)
        env |= {name: value for name, value in env_on(page).items() if value}
    return app_id, env


@pytest.fixture
def enabled(server, made):
    server.command("app", "enable", made[0])
    yield
    server.command("app", "disable", made[0])


@pytest.fixture
def run(developer, made, tmp_path):
    """Save the `.env` with this Tweet ID, and run one of the page's snippets in its folder."""

    def run_snippet(name, tweet_id):
        page = developer.open(keys_path(made[0]))
        env = made[1] | {"TWEET_ID": tweet_id}
        assert all(env.values()), env
        (tmp_path / ".env").write_text("".join(f"{key}={value}\n" for key, value in env.items()))
        snippet = tmp_path / name
        snippet.write_text(page.texts[name])
        interpreter = {"curl": shutil.which("bash"), "python": sys.executable}[name]
        return subprocess.run(
            [interpreter, snippet.name],
            cwd=tmp_path,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    return run_snippet


def test_the_env_is_complete_after_the_three_buttons(server, made):
    assert all(made[1].values())
    assert made[1]["TWEET_ID"] == RECENT  # the owner's newest
    assert made[1]["ENGAGEMENT_API_URL"] == server.url


def test_curl_prints_public_totals(run, enabled):
    done = run("curl", "111")
    assert done.returncode == 0, done.stderr
    totals = {"favorites": "4", "retweets": "2", "replies": "1", "quote_tweets": "1"}
    assert json.loads(done.stdout) == {"totals": {"111": totals | {"video_views": "0"}}}


def test_python_prints_the_last_28_hours(run, enabled, world):
    done = run("python", RECENT)
    assert done.returncode == 0, done.stderr
    status, _, body = done.stdout.partition(" ")
    assert status == "200"
    answer = json.loads(body)
    assert set(answer["by hour"]) == {"impressions", "engagements", "url_clicks"}
    start, end = (read_hour(answer[edge]) for edge in ("start", "end"))
    assert end - start in {28, 29}
    clicks = {
        (day, hour): int(count)
        for day, hours in answer["by hour"]["url_clicks"].items()
        for hour, count in hours.items()
    }
    assert clicks == {
        (time.strftime("%Y-%m-%d", at), time.strftime("%H", at)): count
        for hour in range(start, end)
        for at in [time.gmtime(hour * HOUR_S)]
        for count in [recent_count(hour) if hour <= world.seeded_hour else 0]
    }
    assert answer["by hour"]["engagements"] == answer["by hour"]["url_clicks"]


def read_hour(shown):
    return calendar.timegm(time.strptime(shown, "%Y-%m-%dT%H:%M:%SZ")) // HOUR_S


@pytest.mark.parametrize("snippet", ["curl", "python"])
def test_before_the_app_is_enabled_they_print_the_reason(run, snippet):
    done = run(snippet, "111")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().removeprefix("403 ") == (
        '{"errors":["Your application ID is not authorized."]}'
    )
