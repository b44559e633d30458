"""The sandbox with the real week: every number equals a plain count over the file."""

import csv
import gzip
import os
import random
import subprocess
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from requests_oauthlib import OAuth1

from faults.crashing import open_session
from support.cli import EXECUTABLE, call_command, server_environment
from support.ports import HOST, free_port
from support.waiting import PATIENCE_S, wait_for

REAL_FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "higgs-activity_time.txt.gz"
TYPE_OF = {"RT": "retweets", "RE": "replies", "MT": "other_engagements"}
HOUR_S = 3600
OWNERS = 8  # whose private metrics are compared hour by hour

pytestmark = pytest.mark.skipif(
    not REAL_FILE.is_file(), reason="higgs-activity_time.txt.gz is not next to the checkout"
)


class Week:
    """The counts of the file in plain Python."""

    def __init__(self):
        self.totals = Counter()  # (Tweet, type)
        self.hours = defaultdict(lambda: defaultdict(Counter))  # Tweet -> type -> hour since 1970
        self.last_s = 0
        with gzip.open(REAL_FILE, "rt", newline="") as file:
            for _, target, at, kind in csv.reader(file, delimiter=" "):
                name = TYPE_OF[kind]
                self.totals[target, name] += 1
                self.hours[target][name][int(at) // HOUR_S] += 1
                self.last_s = max(self.last_s, int(at))
        self.tweet_ids = list(self.hours)

    def engagements(self, tweet_id):
        return sum(self.totals[tweet_id, name] for name in TYPE_OF.values())

    def engagements_by_hour(self, tweet_id):
        return sum(self.hours[tweet_id].values(), Counter())

    def by_hour(self, tweet_id, name):
        return self.hours[tweet_id].get(name, Counter())


class Sandbox:
    """A sandbox as a process; `shifts` are the possible shifts of the week in hours."""

    def __init__(self, folder, week):
        self.folder = folder / "sandbox"
        self.url = f"http://{HOST}:{free_port()}"
        command = [EXECUTABLE, "--data", folder, "sandbox", "--higgs", REAL_FILE]
        command += ["--no-simulated", "--port", self.url.rpartition(":")[2]]
        self.log = folder / "sandbox.log"
        began_s = time.time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=server_environment(), start_new_session=True
            )
        wait_for(self._is_ready, pause_s=0.05, reason=lambda: self.log.read_text()[-2000:])
        self.shifts = {(int(at) - week.last_s) // HOUR_S for at in (began_s, time.time())}
        lines = (self.folder / "credentials.env").read_text().splitlines()
        self.demo = dict(line.split("=", 1) for line in lines)
        self.session = open_session()

    def _is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            answer = requests.get(f"{self.url}/health", timeout=PATIENCE_S)
        except requests.RequestException:
            return False
        return answer.status_code == 200 and "Ready after" in self.log.read_text()

    def close(self):
        self.session.close()
        os.killpg(self.process.pid, 15)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()

    def ask(self, endpoint, ids, types, group_by, *, auth=None, **more):
        headers = {} if auth else {"Authorization": f"Bearer {self.demo['BEARER_TOKEN']}"}
        answer = self.session.post(
            f"{self.url}/insights/engagement/{endpoint}",
            json={
                "tweet_ids": ids,
                "engagement_types": types,
                "groupings": {"all": {"group_by": group_by}},
                **more,
            },
            headers=headers,
            auth=auth,
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    def owner_of(self, tweet_id):
        """Return the signer of a new app that belongs to the author of the Tweet."""
        app = call_command(self.folder, "app", "add", "check", "--owner", f"user_{tweet_id}")
        call_command(self.folder, "app", "enable", app["app_id"])
        token = call_command(self.folder, "token", "issue", app["app_id"])
        return OAuth1(
            app["consumer_key"],
            app["consumer_secret"],
            token["access_token"],
            token["access_token_secret"],
        )


@pytest.fixture(scope="module")
def week():
    return Week()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, week):
    made = Sandbox(tmp_path_factory.mktemp("higgs"), week)
    yield made
    made.close()


@pytest.fixture(scope="module")
def chosen(week):
    """The busiest Tweets and a sample of the others."""
    busiest = sorted(week.tweet_ids, key=week.engagements, reverse=True)
    return [*busiest[: OWNERS // 2], *random.Random(1).sample(busiest[OWNERS:], OWNERS // 2)]


def hours_of(by_day):
    """Return `{hour since 1970: count}` without zeros from nested days and hours."""
    found = Counter()
    for day, by_hour in by_day.items():
        midnight = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
        for hour, count in by_hour.items():
            found[int(midnight) // HOUR_S + int(hour)] = int(count)
    return +found


def test_the_sandbox_says_that_nothing_is_simulated(sandbox):
    assert "Nothing is simulated" in sandbox.log.read_text()


def test_the_totals_of_every_tweet_are_right(sandbox, week):
    assert len(week.tweet_ids) > 50_000
    found = Counter()
    for start in range(0, len(week.tweet_ids), 250):
        ids = week.tweet_ids[start : start + 250]
        types = ["retweets", "replies", "favorites", "quote_tweets", "video_views"]
        answer = sandbox.ask("totals", ids, types, ["tweet.id", "engagement.type"])
        assert set(answer) == {"all"}
        for tweet_id, counts in answer["all"].items():
            found.update({(tweet_id, name): int(count) for name, count in counts.items()})

    public = {key: n for key, n in week.totals.items() if key[1] != "other_engagements"}
    assert dict(+found) == public


def test_the_total_over_all_tweets_is_right(sandbox, week):
    busiest = sorted(week.tweet_ids, key=week.engagements, reverse=True)[:250]
    answer = sandbox.ask("totals", busiest, ["retweets", "replies"], ["engagement.type"])

    expected = {
        name: str(sum(week.totals[one, name] for one in busiest))
        for name in ("retweets", "replies")
    }
    assert answer == {"all": expected}


def test_other_engagements_count_as_engagements(sandbox, week, chosen):
    assert any(week.totals[one, "other_engagements"] for one in chosen)
    for tweet_id in chosen:
        types = ["engagements", "impressions", "retweets", "replies"]
        answer = sandbox.ask(
            "totals",
            [tweet_id],
            types,
            ["tweet.id", "engagement.type"],
            auth=sandbox.owner_of(tweet_id),
        )
        assert answer["all"][tweet_id] == {
            "engagements": str(week.engagements(tweet_id)),
            "impressions": "0",
            "retweets": str(week.totals[tweet_id, "retweets"]),
            "replies": str(week.totals[tweet_id, "replies"]),
        }


def test_every_hour_of_the_week_is_right(sandbox, week, chosen):
    four = ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]
    types = ["engagements", "retweets", "replies", "favorites"]
    for tweet_id in chosen:
        answer = sandbox.ask("historical", [tweet_id], types, four, auth=sandbox.owner_of(tweet_id))
        found = {name: hours_of(days) for name, days in answer["all"][tweet_id].items()}
        assert any(found == expected_hours(week, tweet_id, shift) for shift in sandbox.shifts)


def expected_hours(week, tweet_id, shift):
    plain = {
        "engagements": week.engagements_by_hour(tweet_id),
        "retweets": week.by_hour(tweet_id, "retweets"),
        "replies": week.by_hour(tweet_id, "replies"),
        "favorites": Counter(),
    }
    return {
        name: Counter({hour + shift: count for hour, count in counts.items()})
        for name, counts in plain.items()
    }


def test_the_last_28_hours_are_right(sandbox, week):
    """The busiest Tweet of the last day of the file, read by its own author."""
    day_began = week.last_s // HOUR_S - 24
    last = Counter()
    for tweet_id in week.tweet_ids:
        counts = week.engagements_by_hour(tweet_id)
        last[tweet_id] = sum(count for hour, count in counts.items() if hour > day_began)
    tweet_id = last.most_common(1)[0][0]
    answer = sandbox.ask(
        "28hr",
        [tweet_id],
        ["engagements"],
        ["engagement.day", "engagement.hour"],
        auth=sandbox.owner_of(tweet_id),
    )
    start, end = (
        int(datetime.fromisoformat(answer[name]).timestamp()) // HOUR_S for name in ("start", "end")
    )

    found = hours_of(answer["all"])
    assert found
    for shift in sandbox.shifts:
        moved = {h + shift: n for h, n in week.engagements_by_hour(tweet_id).items()}
        if found == {hour: count for hour, count in moved.items() if start <= hour < end}:
            return
    pytest.fail(f"the hours differ: {found}")


def test_the_printed_command_for_the_last_28_hours_shows_engagements(sandbox):
    demo = sandbox.demo
    auth = OAuth1(
        demo["CONSUMER_KEY"],
        demo["CONSUMER_SECRET"],
        demo["ACCESS_TOKEN"],
        demo["ACCESS_TOKEN_SECRET"],
    )
    text = sandbox.log.read_text()
    tweet_id = next(line.split()[-1] for line in text.splitlines() if "get_28hr" in line)
    answer = sandbox.ask("28hr", [tweet_id], ["engagements"], ["engagement.type"], auth=auth)

    assert int(answer["all"]["engagements"]) > 0
