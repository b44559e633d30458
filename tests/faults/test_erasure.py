"""A real server erases accounts: under load, several at once, and with `kill -9` anywhere."""

import json
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from faults.crashing import OWNER_ID, Crashing, Producers, open_session
from openengagement.registry.opening import open_registry
from support.cli import EXECUTABLE, server_environment
from support.folders import open_store
from support.traces import find_traces, forms_of_id, forms_of_text
from support.waiting import PATIENCE_S, wait_for

ID, NAME = 2126287304677921922, "Persephone.Quill"
APP, VIDEO = "Quillcharts", "13_7001Quill"
HERS = [2026287304677921922 + 4096 * index for index in range(200)]
OTHERS = [1926287304677921921 + 4096 * index for index in range(200)]
AT = "2026-11-20T10:00:00Z"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def events(ids, count=1):
    return lines({"tweet_id": str(e), "type": "favorites", "at": AT, "count": count} for e in ids)


def traces(data):
    forms = forms_of_id(ID) | forms_of_text(NAME) | forms_of_text(APP) | forms_of_text(VIDEO)
    for each in HERS[::7]:
        forms |= forms_of_id(each)
    return find_traces(data, forms)


def seed(server):
    """An account with Tweets, an app that others use, tokens and a session; and the others."""
    server.make_app()
    call = server.command
    call("account", "add", NAME, "--id", str(ID), "--role", "manager")
    made = call(
        "app", "add", APP, "--owner", NAME, "--callback", "https://quill.example/Quillcharts"
    )
    call("app", "enable", made["app_id"])
    call("token", "issue", made["app_id"])
    call("token", "bearer", made["app_id"])
    rows = [{"id": str(e), "author_id": str(ID), "created_at": AT, "video_id": VIDEO} for e in HERS]
    rows += [{"id": str(e), "author_id": str(OWNER_ID), "created_at": AT} for e in OTHERS]
    folder = server.data.parent
    for kind, text in {"tweets": lines(rows), "events": events(HERS + OTHERS, 3)}.items():
        (folder / f"{kind}.ndjson").write_text(text)
        call("load", kind, str(folder / f"{kind}.ndjson"))


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    server = Crashing(tmp_path_factory.mktemp("erasure") / "data")
    seed(server)
    return server


@pytest.fixture
def server(seeded, tmp_path):
    made = seeded.on_copy(tmp_path / "data")
    yield made
    made.end()


def delete(server, account_id, session=None):
    headers = {"Authorization": f"Bearer {server.platform_key}"}
    return (session or requests).delete(
        f"{server.url}/platform/v1/accounts/{account_id}", headers=headers, timeout=PATIENCE_S
    )


def ask_others(server, ids=OTHERS):
    body = {
        "tweet_ids": [str(each) for each in ids],
        "engagement_types": ["favorites"],
        "groupings": {"g": {"group_by": ["tweet.id", "engagement.type"]}},
    }
    return server.ask("totals", body)["g"]


def test_a_server_erases_an_account(server):
    server.start()
    assert traces(server.data)
    answer = delete(server, ID)
    assert (answer.status_code, answer.json()) == (
        200,
        {"tweets": 200, "apps": 1, "access_tokens": 1, "sessions": 0},
    )
    assert traces(server.data) == []
    assert delete(server, ID).status_code == 404
    assert {each["favorites"] for each in ask_others(server).values()} == {"3"}
    refused = server.request(
        "totals",
        {
            "tweet_ids": [str(HERS[0])],
            "engagement_types": ["favorites"],
            "groupings": {"g": {"group_by": ["tweet.id"]}},
        },
    )
    assert (refused.status_code, refused.headers["x-error-code"]) == (400, "tweets_unavailable")
    for words in (str(ID), NAME, str(HERS[0])):
        assert words not in server.log()


def test_all_of_it_also_when_the_server_runs_on(server):
    """What workers have in memory, such as usage, does not bring the account back."""
    server.start()
    with open_session() as session:
        ask = {
            "tweet_ids": [str(each) for each in HERS[:9]],
            "engagement_types": ["favorites"],
            "groupings": {"g": {"group_by": ["tweet.id"]}},
        }
        token = server.command("token", "bearer", server.app["app_id"])["access_token"]
        for _ in range(20):
            answer = session.post(
                f"{server.url}/insights/engagement/totals",
                json=ask,
                headers={"Authorization": f"Bearer {token}"},
                timeout=PATIENCE_S,
            )
            assert answer.status_code == 200
    assert delete(server, ID).status_code == 200
    time.sleep(7)  # until the workers have recorded their usage
    assert traces(server.data) == []


def test_under_load(server):
    """Batches and reads for other Tweets go on, and all of them count once."""
    server.start()
    acknowledged, statuses = [], []

    def produce(name, number):
        with open_session() as session:
            body = events(OTHERS[:50])
            while True:
                answer = server.send(session, "events", body, key=f"{name} {number}")
                assert answer is not None
                if answer.status_code == 200:
                    break
                assert answer.status_code == 503, answer.text  # it may still be counted
                producers.patience()
            acknowledged.append(1)

    def read(_name, _number):
        found = ask_others(server, OTHERS[50:60])
        statuses.append({each["favorites"] for each in found.values()})

    def go_on():
        """Wait until both kinds of load have gone on."""
        before = len(acknowledged), len(statuses)
        wait_for(
            lambda: (
                (len(acknowledged) > before[0] and len(statuses) > before[1])
                or producers.errors
                or readers.errors
            )
        )

    with Producers(3, produce) as producers, Producers(1, read) as readers:
        go_on()
        assert delete(server, ID).status_code == 200
        assert traces(server.data) == []
        go_on()
    assert {tuple(each) for each in statuses} == {("3",)}
    totals = {each["favorites"] for each in ask_others(server, OTHERS[:50]).values()}
    assert totals == {str(3 + len(acknowledged))}
    assert traces(server.data) == []


def test_several_at_once(server):
    """Each call waits until its own account is erased. A repeat meanwhile does the same."""
    for number in range(8):
        server.command("account", "add", f"user{number}", "--id", str(5000 + number))
    server.start()
    ids = [ID, ID, *range(5000, 5008)]
    with ThreadPoolExecutor(len(ids)) as pool:
        answers = list(pool.map(lambda each: delete(server, each), ids))
    assert {answer.status_code for answer in answers[2:]} == {200}
    assert {answer.status_code for answer in answers[:2]} <= {200, 404}
    assert traces(server.data) == []
    with closing(open_registry(server.data)) as registry:
        assert registry.removal.list_unfinished() == []
        assert [each.screen_name for each in registry.accounts.list_accounts()] == ["owner"]


def remove(server, *, seconds=PATIENCE_S):
    """Run the command, and kill it after so many seconds. Return whether it ended by itself."""
    process = subprocess.Popen(
        [EXECUTABLE, "--data", server.data, "account", "remove", str(ID), "--yes"],
        env=server_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    assert process.returncode == 0 or "there is no account" in said, said
    return True


@pytest.mark.heavy
def test_a_killed_command_is_completed_by_a_repeat(seeded, tmp_path):
    """Kill it at moments spread over the time that this machine needs for it, then repeat it."""

    def copy(name):
        (tmp_path / str(name)).mkdir()
        return seeded.on_copy(tmp_path / str(name) / "data")

    server, began = copy("whole"), time.monotonic()
    assert remove(server)
    whole_s = time.monotonic() - began
    check_erased(server)
    lives, killed = 12, 0
    for life in range(lives):
        server = copy(life)
        killed += not remove(server, seconds=whole_s * (life + 1) / (lives + 1))
        remove(server, seconds=whole_s * random.random())
        assert remove(server)
        check_erased(server)
    assert killed, "there was nothing to kill"


@pytest.mark.heavy
def test_a_killed_server_is_completed_by_a_repeat(seeded, tmp_path):
    chance = random.Random()
    for life in range(8):
        folder = tmp_path / str(life)
        folder.mkdir()
        server = seeded.on_copy(folder / "data")
        server.start()
        try:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(lambda server=server: delete(server, ID))
                time.sleep(chance.uniform(0.0, 0.4))
                server.kill()
            server.start()
            assert delete(server, ID).status_code in {200, 404}
        finally:
            server.end()
        check_erased(server)


def check_erased(server):
    assert traces(server.data) == []
    with closing(open_registry(server.data)) as registry:
        assert registry.removal.list_unfinished() == []
        assert registry.accounts.read_account(ID) is None
        erased = [e for e in registry.audit.list_entries(limit=99) if e.action == "erase"]
        assert len(erased) == 1
    with closing(open_store(server.data)) as store:
        assert not store.read_totals(HERS, ["favorites"]).any()
        assert (store.read_totals(OTHERS, ["favorites"]) == 3).all()
        assert store.read_authored([ID]).tweet_ids == []
