"""`openengagement move` between a data folder and a cluster, while events arrive over HTTP.

The producers keep every batch until a server has acknowledged it, as the client's `EventSender`
does. What they have sent is the sum that the servers must answer in the end.
"""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections import Counter
from copy import copy
from unittest.mock import patch

import pytest
import requests
from requests_oauthlib import OAuth1

from faults.crashing import OWNER_ID, Crashing, Producers, open_session
from openengagement.limits.opening import init_limits
from openengagement.registry.opening import init_registry
from openengagement.settings import ENV_PREFIX
from support.cli import EXECUTABLE, invoke, server_environment
from support.ports import is_free
from support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.heavy

IDS = list(range(100, 400))
WITH_VIDEO = set(IDS[:40])  # all of the same video
TYPES = ("favorites", "video_views", "impressions")
HOURS = [f"2026-11-{day:02}T{hour:02}:00:00Z" for day in (18, 19, 20) for hour in range(24)]
SEEDED_BATCHES = 8
_CHANGING = r'"(last_used|requests|refused)[^,}]*'


class Sums:
    """What the producers have sent, and where to. They wait while `server` is None."""

    def __init__(self, server):
        self.server = server
        self.by_type = Counter()
        self.by_hour = Counter()
        self.refused = 0
        self._phase = 0
        self._lock = threading.Lock()

    def produce(self, name, number, *, size=60):
        """Send a batch under its own key until it is acknowledged, and add it to the sums."""
        rows = [
            {
                "tweet_id": str(IDS[(name * 7 + number * 13 + each * each) % len(IDS)]),
                "type": TYPES[(number + each) % len(TYPES)],
                "at": HOURS[(number * 5 + each) % len(HOURS)],
                "count": 1 + each % 3,
            }
            for each in range(size)
        ]
        body = json.dumps(rows)
        with open_session() as session:
            while not self._send(session, body, key=f"{self._phase}-{name}-{number}"):
                self.producers.patience()
        with self._lock:
            for row in rows:
                self.by_type[row["tweet_id"], row["type"]] += row["count"]
                self.by_hour[row["tweet_id"], row["type"], row["at"]] += row["count"]

    def _send(self, session, body, *, key):
        server = self.server
        if server is None:
            return False
        answer = server.send(session, "events", body, form="json", key=key)
        if answer is None or answer.status_code != 200:
            assert answer is None or answer.status_code == 503, answer.text
            assert answer is None or answer.headers["retry-after"]
            self.refused += 1
            return False
        return True

    def running(self, count=2):
        self._phase += 1
        self.producers = Producers(count, self.produce)
        return self.producers

    def expected(self, tweet_id, kind):
        if kind == "video_views" and tweet_id in WITH_VIDEO:
            return sum(self.by_type[str(each), kind] for each in WITH_VIDEO)
        return self.by_type[str(tweet_id), kind]

    def verify(self, server):
        """Compare the answers of a server with the sums."""
        groups = {"g": {"group_by": ["tweet.id", "engagement.type"]}}
        for at in range(0, len(IDS), 250):
            ids = [str(each) for each in IDS[at : at + 250]]
            body = {"tweet_ids": ids, "engagement_types": list(TYPES), "groupings": groups}
            found = server.ask("totals", body)["g"]
            for tweet_id in ids:
                for kind in TYPES:
                    asked = int(found[tweet_id][kind])
                    assert asked == self.expected(int(tweet_id), kind), (tweet_id, kind)
        hourly = {
            "g": {"group_by": ["tweet.id", "engagement.type", "engagement.day", "engagement.hour"]}
        }
        for at in range(0, len(IDS), 25):
            ids = [str(each) for each in IDS[at : at + 25]]
            body = {
                "tweet_ids": ids,
                "engagement_types": ["favorites"],
                "groupings": hourly,
                "start": "2026-11-18",
                "end": "2026-11-21",
            }
            found = server.ask("historical", body)["g"]
            for (tweet_id, kind, when), count in self.by_hour.items():
                if tweet_id in ids and kind == "favorites":
                    assert int(found[tweet_id][kind][when[:10]][when[11:13]]) == count


@pytest.fixture
def settings(modern, monkeypatch, tmp_path):
    """The settings of the servers of an empty cluster. The keys are those of the folder."""
    postgresql, clickhouse = modern.urls
    init_registry(postgresql)
    init_limits(postgresql)
    return {"registry": postgresql, "store": clickhouse}


@pytest.fixture
def source(tmp_path, settings):
    """A server with data, whose folder moves."""
    (tmp_path / "data").mkdir()
    made = Crashing(tmp_path / "data")
    made.make_app()
    made.command("account", "add", "quill", "--id", "7")
    settings["server_keys"] = (tmp_path / "data/server.key").read_text().strip()
    made.start()
    register(made)
    servers = [made]
    yield made, servers
    for each in servers:
        each.end()


def register(server):
    rows = [
        {
            "id": str(each),
            "author_id": str(OWNER_ID),
            "created_at": "2026-11-18T00:00:00Z",
            "text": f"Tweet {each}",
            **({"video_id": "clip"} if each in WITH_VIDEO else {}),
        }
        for each in IDS
    ]
    with open_session() as session:
        assert server.send(session, "tweets", json.dumps(rows), form="json").status_code == 200


class Move:
    """The command, as a process."""

    def __init__(self, source, target, settings):
        self._command = [str(EXECUTABLE), "move", "--from", str(source), "--to", str(target)]
        self._environment = server_environment(settings)

    def start(self, *options):
        return subprocess.Popen(
            [*self._command, *options, "--json"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options):
        process = self.start(*options)
        out, err = process.communicate()
        assert process.returncode == 0, err
        return json.loads(out)

    def kill_when(self, condition, *options):
        process = self.start(*options)
        try:
            wait_for(
                lambda: condition() or process.poll() is not None, reason="at the moment to kill"
            )
            assert process.poll() is None, process.communicate()
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()


def end(server):
    """Stop a server with SIGTERM, which writes the usage that it counted."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(PATIENCE_S)
    wait_for(lambda: is_free(server.port))


def start_on(before, data, settings, servers):
    """Start a server at the same address on other stores."""
    made = copy(before)
    made.data, made._log, made.settings = data, data.parent / f"{data.name}.log", settings
    data.mkdir(exist_ok=True)
    servers.append(made)
    made.start()
    return made


def signed_request(server):
    """A request that a stranger could have recorded."""
    app = server.app
    names = ("consumer_key", "consumer_secret", "access_token", "access_token_secret")
    groups = {"g": {"group_by": ["tweet.id"]}}
    body = {"tweet_ids": [str(IDS[0])], "engagement_types": ["favorites"], "groupings": groups}
    request = requests.Request(
        "POST",
        f"{server.url}/insights/engagement/totals",
        json=body,
        auth=OAuth1(*(app[name] for name in names)),
    )
    return request.prepare()


def send(request):
    with open_session() as session:
        return session.send(request, timeout=PATIENCE_S)


def steps(modern):
    """The number of commits of the move into the cluster."""
    return _step(modern.sql("SELECT position FROM positions WHERE source = 'move'"))


def folder_steps(data):
    """The number of commits of the move into a folder."""
    with contextlib.suppress(sqlite3.OperationalError):  # it has no tables yet
        return _step(read_file(data, "SELECT position FROM positions WHERE source = 'move'"))
    return -1


def _step(rows):
    return json.loads(bytes(rows[0][0]))["step"] if rows else -1


def is_sealed(data):
    return bool(read_file(data, "SELECT 1 FROM sqlite_schema WHERE name LIKE 'sealed%'"))


def read_file(data, query):
    file = data / "counters.sqlite3"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def run_on(folder, settings, *arguments):
    """Run a command in this process, on other stores."""
    with patch.dict(os.environ, {ENV_PREFIX + name.upper(): settings[name] for name in settings}):
        return invoke("--data", str(folder), *arguments)


def contents(folder, settings):
    """What the registry lists, without what requests since the switch have changed."""
    lists = (("account", "list"), ("app", "list"), ("platform-key", "list"))
    found = [run_on(folder, settings, *each, "--json") for each in lists]
    assert [each.exit_code for each in found] == [0] * len(found)
    return [re.sub(_CHANGING, "", each.stdout) for each in found]


def test_to_a_cluster_and_back(source, modern, settings, tmp_path):
    server, servers = source
    sums = Sums(server)
    data, node, back = tmp_path / "data", tmp_path / "node", tmp_path / "back"
    with sums.running(1):
        for number in range(SEEDED_BATCHES):
            sums.produce(9, number, size=3000)
    move = Move(data, "cluster", settings)
    with sums.running():
        # Interrupted while it copies. Then it copies everything.
        move.kill_when(lambda: steps(modern) >= 1, "--rate", "100")
        copied = move.run()
        assert (copied["switched"], copied["tweets_compared"]) == (False, len(IDS))
        assert "has not finished" in run_on(node, settings, "status").stderr
        # Interrupted when it has sealed the source: that stays so.
        move.kill_when(lambda: is_sealed(data), "--switch")
        before = sums.refused
        wait_for(lambda: sums.refused > before + 4)
        recorded = signed_request(server)
        assert send(recorded).status_code == 200  # reads are answered
        done = move.run("--switch")
        assert (done["switched"], done["differences"]) == (True, 0)
        assert send(signed_request(server)).status_code == 503
        assert requests.get(f"{server.url}/readyz", timeout=PATIENCE_S).status_code == 503
        print("to the cluster", done)
        sums.server = None
        end(server)
        sums.server = server = start_on(server, node, settings, servers)
        assert send(recorded).status_code == 401  # replayed
        seen = sum(sums.by_type.values())
        wait_for(lambda: sum(sums.by_type.values()) > seen + 500)
    sums.verify(server)
    assert contents(node, settings) == contents(data, {})

    move = Move("cluster", back, settings)
    with sums.running(3):
        move.kill_when(lambda: folder_steps(back) >= 1, "--rate", "100")
        done = move.run("--switch")
        assert (done["switched"], done["differences"]) == (True, 0)
        print("back", done)
        sums.server = None
        end(server)
        sums.server = server = start_on(server, back, {}, servers)
        seen = sum(sums.by_type.values())
        wait_for(lambda: sum(sums.by_type.values()) > seen + 500)
    sums.verify(server)


def test_a_cluster_without_tables_is_refused(source, settings, postgresql_server, tmp_path):
    """First without those of the registry, and then without those of the store."""
    data = tmp_path / "data"
    for prepare, problem in (
        (postgresql_server.drop, "the registry has no tables"),
        (lambda: init_registry(settings["registry"]), "the cluster has no tables yet"),
    ):
        prepare()
        refused = run_on(data, settings, "move", "--from", str(data), "--to", "cluster")
        assert (refused.exit_code, problem in refused.stderr) == (1, True), refused.stderr
        assert "cluster init" in refused.stderr
    assert not is_sealed(data)


def test_a_cluster_that_holds_other_data_is_refused(source, settings, tmp_path):
    data = tmp_path / "data"
    assert run_on(tmp_path / "node", settings, "account", "add", "zoe").exit_code == 0
    refused = run_on(data, settings, "move", "--from", str(data), "--to", "cluster")
    assert "is not empty, and no move has filled it" in refused.stderr
