"""Bits flip in the files of a live server: the numbers are right, or the answer is 503."""

import json
import os
import random
import sqlite3
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import requests
from cryptography.fernet import Fernet

from contract.deltas import make_batch
from faults.counting import write_tweets
from faults.crashing import open_session
from faults.test_folder import refused_start
from openengagement.clock import SystemClock
from openengagement.engagement.types import format_time, hour_of
from openengagement.errors import StoreDamaged
from openengagement.processes.damage_notices import DamageNotices
from openengagement.settings import Settings
from openengagement.stores.embedded import checksums, compaction, segments
from openengagement.stores.embedded.store import EmbeddedStore
from support.cli import invoke
from support.folders import checkpoint, files_told_of, flip, flip_last_total, flip_table
from support.receiver import LOOPBACK, Receiver
from support.waiting import PATIENCE_S, avoid_midnight, wait_for

TWEETS = range(1, 251)
DAMAGED = "stored data is damaged; run `openengagement check`"
TYPES = ["favorites", "replies"]


@pytest.fixture
def folder(crashing, tmp_path, monkeypatch):
    """The folder of a server that is not running yet, with a file and a blob of counters."""
    monkeypatch.setattr(compaction.Compactor, "notify_commit", lambda _: None)
    # Small blocks: the health check reads Tweet 1, and with it the first block.
    monkeypatch.setattr(checksums, "_BLOCK_BYTES", 2048)
    crashing.workers = 1
    crashing.make_app()
    crashing.command("load", "tweets", str(write_tweets(tmp_path / "tweets.csv", len(TWEETS))))
    path = crashing.data / "counters.sqlite3"
    store = EmbeddedStore(path, clock=SystemClock(), idempotency_keep_days=90)
    hour = hour_of(int(SystemClock().now_s()))
    for part in range(2):
        rows = [(each, hour - part, {"favorites": each, "replies": part + 1}) for each in TWEETS]
        store.apply_batches([make_batch(rows)])
        if not part:
            store._compactor._merger.merge(store._compactor._merger.unflushed())
    store.close()
    checkpoint(path)
    return crashing.data


def read(server):
    """Return the totals of all Tweets, or the error code of a 503."""
    answer = server.request("totals", asked())
    if answer.status_code == 503:
        return answer.headers["x-error-code"]
    assert answer.status_code == 200, answer.text
    return totals_of(answer)


def asked():
    return {
        "tweet_ids": [str(each) for each in TWEETS],
        "engagement_types": TYPES,
        "groupings": {"all": {"group_by": ["tweet.id", "engagement.type"]}},
    }


def totals_of(answer):
    counts = answer.json()["all"]
    return {int(each): [int(counts[each][name]) for name in TYPES] for each in counts}


RIGHT = {each: [2 * each, 3] for each in TWEETS}


def damaged_files(server):
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return {line["file"] for line in lines if line["event"] == "store_unavailable"}


def health(server):
    """Return the status of `/health`, and its reasons."""
    answer = requests.get(f"{server.url}/health", timeout=PATIENCE_S)
    return answer.status_code, answer.json().get("reasons", [])


def wait_until_damage_is_reported(server):
    """The checks run at most once in a second."""
    wait_for(lambda: DAMAGED in health(server)[1])
    assert health(server)[0] == 503


def check(data):
    return invoke("--data", str(data), "check")


def test_flipped_bits_of_a_segment_are_answered_with_503(crashing, folder):
    (path,) = (folder / "counters.segments").glob("*.segment")
    name = f"counters.segments/{path.name}"
    parts = segments._read_head(path.read_bytes())
    # The server reads the head and the checksums once, when it opens the file.
    arrays = [each for each in parts if each[0].startswith("totals") and "checksums" not in each[0]]
    chance = random.Random(1)
    crashing.start()
    assert health(crashing) == (200, [])
    for _, dtype, length, offset in arrays:
        size = length * int(dtype[-1])
        for at, bit in [(offset + chance.randrange(size // 2, size), chance.randrange(8))] * 2:
            flip(path, at, bit)
            assert read(crashing) == "store_damaged"
            flip(path, at, bit)
    flip(path, at, bit)
    assert check(folder).exit_code == 1
    flip(path, at, bit)
    assert read(crashing) == RIGHT
    assert damaged_files(crashing) == {name}
    wait_until_damage_is_reported(
        crashing
    )  # of a request that met it, though the file is sound now
    assert check(folder).exit_code == 0
    crashing.kill()
    crashing.start()
    assert health(crashing) == (200, [])


def read_hours(server):
    """Return the response for the hourly counts of some Tweets."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    times = {"start": now - timedelta(hours=4), "end": now + timedelta(hours=1)}
    asked = {
        "tweet_ids": [str(each) for each in TWEETS[-25:]],
        "engagement_types": TYPES,
        "groupings": {"all": {"group_by": ["tweet.id", "engagement.type", "engagement.hour"]}},
    }
    asked |= {name: time.strftime("%Y-%m-%dT%H:%M:%SZ") for name, time in times.items()}
    return server.request("historical", asked)


@pytest.mark.parametrize("part", ["ids", "starts", "cells"])
def test_pages_that_are_gone_before_they_are_read_end_no_process(crashing, folder, part):
    """The server has mapped the file, and read other pages of it."""
    (path,) = (folder / "counters.segments").glob("*.segment")
    offsets = {name: at for name, _, _, at in segments._read_head(path.read_bytes())}
    content = path.read_bytes()
    crashing.start()
    assert health(crashing) == (200, [])
    workers = crashing.workers_running()
    os.truncate(path, offsets[f"hours.{part}"])
    for _ in range(3):
        answer = read_hours(crashing)
        assert (answer.status_code, answer.headers["x-error-code"]) == (503, "store_damaged")
    assert crashing.workers_running() == workers
    assert damaged_files(crashing) == {f"counters.segments/{path.name}"}
    wait_until_damage_is_reported(crashing)
    path.write_bytes(content)
    assert read_hours(crashing).status_code == 200


def test_pages_that_are_gone_after_they_were_read_end_a_worker_once(crashing, folder):
    """A warm read has no check. The next worker finds the damage when it opens the file."""
    (path,) = (folder / "counters.segments").glob("*.segment")
    content = path.read_bytes()

    def status():
        try:
            return read_hours(crashing).status_code
        except requests.RequestException:
            return None

    crashing.start()
    assert status() == 200
    os.truncate(path, 4096)
    assert status() in {None, 503}
    wait_for(lambda: status() == 503)
    workers = crashing.workers_running()
    assert [status() for _ in range(5)] == [503] * 5
    assert read(crashing) == "store_damaged"
    assert crashing.workers_running() == workers
    assert check(folder).exit_code == 1
    path.write_bytes(content)
    assert status() == 200
    assert read(crashing) == RIGHT


def test_flipped_bits_of_a_blob_are_answered_with_503(crashing, folder):
    """A batch that was just counted. It is in the write-ahead log, and nothing has read it."""
    log = folder / "counters.sqlite3-wal"
    crashing.start()
    event = {"type": "favorites", "at": "2021-01-01T00:00:00Z", "count": 7}
    lines = [json.dumps({"tweet_id": str(each), **event}) + "\n" for each in TWEETS]
    with open_session() as session:
        assert crashing.send(session, "events", "".join(lines)).status_code == 200
    ids = np.array(TWEETS, "<i8").tobytes()
    at = log.read_bytes().find(ids[:1000])
    assert at > 0
    flip(log, at + 500, 3)
    assert read(crashing) == "store_damaged"
    wait_until_damage_is_reported(crashing)
    flip(log, at + 500, 3)
    crashing.kill()  # SQLite has the page in memory
    crashing.start()
    assert read(crashing) == {each: [2 * each + 7, 3] for each in TWEETS}
    (file,) = damaged_files(crashing)
    assert file.startswith("counters.sqlite3")


@pytest.mark.parametrize("name", ["counters.sqlite3", "registry.sqlite3"])
def test_a_damaged_page_of_a_database_is_answered_with_503(crashing, folder, name):
    """SQLite notices a page that cannot be one of its own."""
    path = folder / name
    table = {"counters.sqlite3": "tweets", "registry.sqlite3": "access_tokens"}[name]
    crashing.start()
    crashing.kill()
    flip_table(path, table)
    crashing.start()
    assert read(crashing) == "store_damaged"
    wait_until_damage_is_reported(crashing)
    assert damaged_files(crashing) == {name}
    done = check(folder)
    assert done.exit_code == 1
    assert f"{name} is damaged" in done.stderr


def test_a_backup_of_a_damaged_folder_is_refused(crashing, folder, tmp_path):
    (path,) = (folder / "counters.segments").glob("*.segment")
    crashing.start()
    name, _, _, offset = segments._read_head(path.read_bytes())[0]
    assert name == "hours.ids"
    flip(path, offset, 0)
    done = invoke("--data", str(folder), "backup", str(tmp_path / "copy"))
    assert done.exit_code == 1
    assert f"counters.segments/{path.name} is damaged" in done.stderr
    assert not (tmp_path / "copy").exists()


def forget_cached_credentials(folder):
    """Do what every change of a credential does in all workers."""
    db = sqlite3.connect(folder / "registry.sqlite3")
    with db:
        db.execute("UPDATE credential_version SET version = version + 1")
    db.close()


KEY_FAULTS = {"the key file cannot be used", "the keys cannot decrypt the credentials"}


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_the_key_file(crashing, folder, bit):
    """Some make other keys, and some make no keys. A running server keeps keys that it has read."""
    path = folder / "server.key"
    whole = path.read_bytes()
    crashing.start()
    assert read(crashing) == RIGHT
    flip(path, 7, bit)
    forget_cached_credentials(folder)
    got = read(crashing)
    wait_for(lambda: KEY_FAULTS.intersection(health(crashing)[1]))
    if "the key file cannot be used" in health(crashing)[1]:
        assert got == RIGHT
        assert '"key_file_unusable"' in crashing.log()
    else:
        assert got == "store_unavailable"
    crashing.end()
    crashing.process.wait()
    assert "server.key" in refused_start(folder)
    path.write_bytes(whole)
    crashing.start()
    assert read(crashing) == RIGHT
    assert health(crashing) == (200, [])


def test_a_key_file_that_is_put_back_is_read_again(crashing, folder):
    path = folder / "server.key"
    whole = path.read_bytes()
    crashing.start()
    path.write_bytes(Fernet.generate_key())
    forget_cached_credentials(folder)
    assert read(crashing) == "store_unavailable"
    assert '"request_failed"' not in crashing.log()
    path.write_bytes(whole)
    wait_for(lambda: health(crashing) == (200, []))
    assert read(crashing) == RIGHT


def try_to_read(server):
    """Return the totals, the status of a refusal, or None if the worker ended."""
    try:
        answer = server.request("totals", asked())
    except requests.RequestException:
        return None
    return totals_of(answer) if answer.status_code == 200 else answer.status_code


def random_bits(path, chance, count):
    size = path.stat().st_size
    return [(chance.randrange(size), chance.randrange(8)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_of_the_limits(crashing, folder, seed):
    """A running server counts on, or refuses requests. The next start replaces a damaged file.

    No private number is shown without a valid signature, and no number is wrong.
    """
    chance = random.Random(seed)
    crashing.start()
    for _ in range(30):
        assert read(crashing) == RIGHT
    (path,) = folder.glob("limits-*.lmdb")
    for at, bit in random_bits(path, chance, 25):
        flip(path, at, bit)
        assert try_to_read(crashing) in (RIGHT, 429, 503, None)
        flip(path, at, bit)  # LMDB may have copied the damage by now
    crashing.end()
    for at, bit in random_bits(path, chance, 5):
        flip(path, at, bit)
    crashing.start()
    wait_for(
        lambda: try_to_read(crashing) == RIGHT
    )  # a changed count refuses until its minute ends
    for _ in range(10):
        assert try_to_read(crashing) in (RIGHT, 429)
    wait_for(lambda: health(crashing) == (200, []))


@pytest.fixture
def receiver(crashing, monkeypatch):
    """A receiver that is told of damage."""
    with Receiver() as started:
        monkeypatch.setenv("OPENENGAGEMENT_WEBHOOK_NETWORKS", LOOPBACK)
        crashing.settings = {"webhook_networks": LOOPBACK}
        crashing.command("webhook", "add", started.url, "--event", "damage.found")
        yield started


def merging_processes(server):
    """Name the processes of the server whose merges have met damage."""
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return {line["process"] for line in lines if line["event"] == "merge_failed"}


def assert_told(server, receiver, path):
    wait_for(lambda: receiver.received, reason=server.log)
    for message in receiver.of_type("damage.found"):
        assert message["data"]["file"] == f"counters.segments/{path.name}"
        assert "checksum" in message["data"]["reason"]


def test_damage_that_only_a_merge_of_a_worker_meets_is_told(crashing, folder, receiver):
    """Two files are enough to merge while the store is idle."""
    (path,) = (folder / "counters.segments").glob("*.segment")
    store = EmbeddedStore(
        folder / "counters.sqlite3", clock=SystemClock(), idempotency_keep_days=90
    )
    store._compactor._merger.merge(store._compactor._merger.unflushed())
    store.close()
    flip_last_total(path)
    crashing.start()
    assert_told(crashing, receiver, path)
    assert merging_processes(crashing) == {"worker"}


def test_damage_that_only_a_merge_of_the_counting_process_meets_is_told(crashing, folder, receiver):
    """Its flush adds a second file, and its compaction merges both."""
    (path,) = (folder / "counters.segments").glob("*.segment")
    crashing.start()
    flip_last_total(path)
    event = {"type": "favorites", "at": format_time(int(SystemClock().now_s()))}
    body = "\n".join(json.dumps(event | {"tweet_id": str(each)}) for each in TWEETS)
    with open_session() as session:
        for _ in range(compaction.FLUSH_MIN):
            assert crashing.send(session, "events", body).status_code == 200
    wait_for(lambda: "counting" in merging_processes(crashing), reason=crashing.log)
    assert_told(crashing, receiver, path)


def test_damage_that_the_counting_process_meets_at_its_start_is_told(crashing, folder, receiver):
    """It looks for idempotency keys of version 0.1.0. No worker reads keys."""
    crashing.start()
    flip_table(folder / "counters.sqlite3", "batches")
    event = {"tweet_id": "1", "type": "favorites", "at": format_time(int(SystemClock().now_s()))}
    with open_session() as session:  # it starts with the first batch
        answer = crashing.send(session, "events", json.dumps(event))
    assert (answer.status_code, answer.headers["x-error-code"]) == (503, "unavailable")
    wait_for(lambda: receiver.received, reason=crashing.log)
    (message,) = receiver.of_type("damage.found")
    assert message["data"]["file"] == "counters.sqlite3"
    assert "counting_process_failed" in crashing.log()
    assert "Traceback" not in crashing.log()


def test_damage_is_told_by_a_process_without_a_registry(crashing, folder):
    """Once for each file and day, however often it is met."""
    avoid_midnight()
    notices = DamageNotices(folder, Settings(), clock=SystemClock())
    for _ in range(2):
        notices.note(StoreDamaged("counters", "counters.segments/x.segment", reason="a fault"))
    wait_for(lambda: files_told_of(folder))
    assert files_told_of(folder) == ["counters.segments/x.segment"]


def test_damage_that_a_request_meets_is_told_once(crashing, folder, receiver):
    avoid_midnight()
    (path,) = (folder / "counters.segments").glob("*.segment")
    crashing.start()
    flip_last_total(path)
    assert read(crashing) == "store_damaged"
    wait_for(lambda: receiver.received, reason=crashing.log)
    assert read(crashing) == "store_damaged"
    assert check(folder).exit_code == 1
    rows = crashing.command("webhook", "deliveries")["deliveries"]
    assert [each["type"] for each in rows if each["target"] != "mail"] == ["damage.found"]
    assert_told(crashing, receiver, path)
