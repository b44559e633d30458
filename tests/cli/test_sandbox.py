"""The sandbox as a test double: reproducible, empty, with scenarios, and as a fixture of pytest."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from requests_oauthlib import OAuth1

from openengagement.errors import ApiError
from openengagement.sandbox.pytest_plugin import run_sandbox
from support.calls import Bearer, question
from support.cli import call_command, invoke
from support.ports import free_port, is_free
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.embedded]

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
NOW = "2026-10-22T12:30:00Z"
SCENARIO = "x-sandbox-scenario"
ABSTRACT = {"bad_request", "not_authenticated", "forbidden"}


def codes(kind=ApiError):
    found = {kind.code} | {code for below in kind.__subclasses__() for code in codes(below)}
    return found - ABSTRACT


@contextmanager
def seeded(folder, *options):
    folder.mkdir(exist_ok=True)
    with run_sandbox(folder, ("--port", str(free_port()), *options)) as sandbox:
        yield sandbox


def signed(sandbox):
    names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    return OAuth1(*(sandbox[name] for name in names))


def ask(sandbox, endpoint, auth, *tweets, **more):
    return requests.post(
        f"{sandbox.url}/insights/engagement/{endpoint}",
        json=question(*tweets, types=("favorites",)),
        auth=auth,
        timeout=PATIENCE_S,
        **more,
    )


def figures(sandbox):
    """All that a client reads: by the day and in total."""
    tweets = sandbox["tweet_ids"]
    answers = [
        ask(sandbox, name, signed(sandbox), *tweets) for name in ("totals", "28hr", "historical")
    ]
    assert [answer.status_code for answer in answers] == [200] * 3, answers[0].text
    return [answer.json() for answer in answers]


def test_a_seed_and_a_time_make_everything_the_same(tmp_path):
    options = ("--seed", "5", "--now", NOW)
    with seeded(tmp_path / "a", *options) as sandbox:
        first, read = dict(sandbox.fields), figures(sandbox)
        assert read[1]["end"] == "2026-10-22T13:00:00Z"
        assert any(int(count["favorites"]) for count in read[0]["g"].values())
    with seeded(tmp_path / "b", *options) as sandbox:
        assert dict(sandbox.fields) | {"url": first["url"]} == first
        assert figures(sandbox) == read
    with seeded(tmp_path / "a", *options) as sandbox:  # the same folder again
        assert dict(sandbox.fields) | {"url": first["url"]} == first
    with seeded(tmp_path / "c", "--seed", "6", "--now", NOW) as sandbox:
        assert sandbox["consumer_key"] != first["consumer_key"]
        assert sandbox["tweet_ids"] != first["tweet_ids"]
    assert first["simulated"] == first["events"] > 100_000


def test_an_empty_sandbox_counts_what_a_test_sends(tmp_path):
    with seeded(tmp_path / "a", "--empty", "--seed", "5") as sandbox:
        wanted = {"tweets": 0, "events": 0, "simulated": 0, "tweet_ids": [], "other_tweet_id": None}
        assert {name: sandbox[name] for name in wanted} == wanted
        author = sandbox["access_token"].partition("-")[0]
        for what, row in {
            "tweets": {"id": "77", "author_id": author, "created_at": "2026-01-01T00:00:00Z"},
            "events": {"tweet_id": "77", "type": "favorites", "at": "2026-01-02T00:00:00Z"},
        }.items():
            sent = requests.post(
                f"{sandbox.url}/platform/v1/{what}",
                json=[row],
                auth=Bearer(sandbox["platform_key"]),
                timeout=PATIENCE_S,
            )
            assert sent.json()["accepted"] == 1, sent.text
        assert ask(sandbox, "totals", signed(sandbox), "77").json() == {
            "g": {"77": {"favorites": "1"}}
        }


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with seeded(tmp_path_factory.mktemp("sandbox"), "--seed", "1") as running:
        yield running


def test_the_page_lists_the_fields(sandbox):
    table = PAGE.partition("## The JSON line")[2].partition("## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    listed = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert listed - {"intercept"} == set(sandbox.fields)


@pytest.mark.parametrize("code", sorted(codes()))
def test_a_scenario_provokes_each_refusal(sandbox, code):
    tweet = sandbox["other_tweet_id"]
    bearer = Bearer(sandbox["bearer_token"])
    answer = ask(sandbox, "totals", bearer, tweet, headers={SCENARIO: code})
    assert answer.headers["x-error-code"] == code
    assert answer.status_code >= 400
    if code == "rate_limited":
        assert answer.status_code == 429
        assert answer.headers["x-per-minute-remaining"] == "0"
        assert answer.json() == {"errors": ["Rate limit exceeded"]}
    if answer.status_code == 503:
        assert answer.headers["retry-after"]
    assert ask(sandbox, "totals", bearer, tweet).status_code == 200  # the next one is served


def test_unknown_scenarios_are_refused(sandbox):
    answer = ask(sandbox, "totals", None, "1", headers={SCENARIO: "nonsense"})
    assert answer.status_code == 400
    assert "rate_limited" in answer.json()["errors"][0]
    assert "truncated" in answer.json()["errors"][0]


def test_a_truncated_answer(sandbox):
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        ask(
            sandbox,
            "totals",
            Bearer(sandbox["bearer_token"]),
            sandbox["other_tweet_id"],
            headers={SCENARIO: "truncated", "Accept-Encoding": "identity"},
        )


def test_a_slow_answer(sandbox):
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{sandbox.url}/livez", headers={SCENARIO: "slow"}, timeout=1)


def test_a_server_performs_no_scenario(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENENGAGEMENT_SANDBOX", "")
    folder = tmp_path / "data"
    call_command(folder, "platform-key", "issue", "feed")

    class World:
        secrets = ()

    World.folder = folder
    with Server(World) as server:
        for name in ("rate_limited", "truncated", "nonsense"):
            answer = server.client.send("GET", "/livez", headers={SCENARIO: name})
            assert (answer.status, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--now", "2999-01-01"), "lies in the future"),
        (("--now", "yesterday"), "is not a time such as"),
        (("--seed", "-1"), "greater than or equal to 0"),
        (("--empty", "--higgs", __file__), "--empty has no Tweets"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    done = invoke("--data", str(tmp_path / "data"), "sandbox", *options)
    assert done.exit_code != 0
    assert message in done.output


def test_the_fixture_of_the_page(tmp_path):
    """The example of the page, in a project of its own, with the settings of the page."""
    (source,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "test_example.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "openengagement.sandbox.pytest_plugin"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    (settings,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    given = tomllib.loads(settings)["tool"]["pytest"]["ini_options"]
    assert given["openengagement_sandbox_options"][0] == "--seed"


def test_the_example_for_github_actions(tmp_path):
    """Its step starts a sandbox that outlives it, and hands variables to the next steps."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    steps = yaml.safe_load(block)["jobs"]["test"]["steps"]
    (script,) = (step["run"] for step in steps if "sandbox" in step.get("run", ""))
    variables, port = tmp_path / "variables", free_port()
    script = script.replace("--json", f"--json --port {port}")
    script = script.replace("timeout 30", f"timeout {PATIENCE_S}")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "GITHUB_ENV": str(variables)},
        start_new_session=True,
    )
    try:
        assert process.wait(PATIENCE_S) == 0
        given = dict(line.split("=", 1) for line in variables.read_text().splitlines())
        assert given["ENGAGEMENT_API_URL"] == f"http://127.0.0.1:{port}"
        tweet = json.loads((tmp_path / "sandbox.json").read_text())["other_tweet_id"]
        answer = requests.post(
            f"{given['ENGAGEMENT_API_URL']}/insights/engagement/totals",
            json=question(tweet, types=("favorites",)),
            headers={"Authorization": f"Bearer {given['BEARER_TOKEN']}"},
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text
    finally:
        os.killpg(process.pid, signal.SIGTERM)
    wait_for(lambda: is_free(port))


def test_the_plugin_is_registered():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {
        "openengagement": "openengagement.sandbox.pytest_plugin"
    }


def test_json_is_one_line(sandbox):
    assert json.loads(json.dumps(dict(sandbox.fields)))["app_id"].isdecimal()
