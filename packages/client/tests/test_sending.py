"""Sending events to the real server: batches, keys, retries, the spool, and refused records."""

import asyncio
import itertools
import json
import threading
from datetime import UTC, datetime

import httpx
import pytest

from both_clients import QUICK, connect_async
from openengagement_client import (
    AsyncPlatformClient,
    BadRequest,
    Batch,
    BatchLimits,
    ConfigurationError,
    InvalidQuery,
    NotFound,
    Options,
    PlatformClient,
    RetryPolicy,
    TransportError,
    Unauthorized,
)
from openengagement_client.batches import compress, content_key, cut_batches
from support.balancer import Balancer
from support.calls import question, sign_as_user
from support.cases import cases
from support.ports import HOST, free_port
from support.server import Server
from support.waiting import PATIENCE_S, wait_for

AWAY = RetryPolicy(attempts_max=2, backoff_s=0.001, wait_max_s=1)
TWEET = "112"
NUMBERS = itertools.count()  # for keys and files, which count once


class ServerBehindProxy:
    """A server that can go away. Its proxy then refuses connections, as the server's port would.

    To stop the server and to start it again would take two seconds of CPU.
    """

    def __init__(self, server):
        self.client = server.client  # directly
        self._server = server
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"
        self._proxy = None

    def start(self):
        self._proxy = Balancer(self._port, [self._server.port])

    def stop(self):
        self._proxy.close()


@pytest.fixture(scope="module")
def own_server(world):
    """Tests may stop it, and start it again."""
    with Server(world) as running:
        made = ServerBehindProxy(running)
        made.start()
        yield made
        made.stop()


@pytest.fixture(params=[PlatformClient, connect_async], ids=["sync", "async"])
def connect(request):
    """Open one of the two clients: `connect(url, key, policy=...)`."""
    return request.param


@pytest.fixture
def platform(connect, own_server, world):
    with connect(own_server.url, world.platform_key, policy=QUICK) as client:
        yield client


@pytest.fixture
def counted(own_server, world):
    """Return how many events were counted since the beginning of the test."""
    before = count_of(own_server, world)
    return lambda: count_of(own_server, world) - before


def event(kind="replies", **more):
    return {"tweet_id": TWEET, "type": kind, "at": "2024-05-01T09:15:00Z", **more}


def lines(count, kind="replies"):
    return (json.dumps(event(kind)) + "\n").encode() * count


def count_of(server, world, kind="replies"):
    asked = question(TWEET, types=(kind,))
    answer = server.client.ask("totals", asked, sign_as_user(world.main)).json()
    return int(answer["g"][TWEET][kind])


def test_batches_are_sent_by_size(platform, own_server, world, counted):
    with platform.sender(BatchLimits(lines_max=10, age_max_s=PATIENCE_S)) as sender:
        for _ in range(35):
            sender.send(event())
    assert (sender.report.accepted, sender.report.batches) == (35, 4)
    assert counted() == 35


def test_batches_are_sent_by_time(platform, own_server, world):
    with platform.sender(BatchLimits(age_max_s=0.2)) as sender:
        sender.send(event())
        wait_for(lambda: sender.report.accepted == 1)
    assert sender.report.batches == 1


def test_several_threads_send(platform, own_server, world, counted):
    with platform.sender(BatchLimits(lines_max=7)) as sender:
        threads = [
            threading.Thread(target=lambda: [sender.send(event()) for _ in range(100)])
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sender.report.accepted == counted() == 500


def test_refused_records_are_reported(platform):
    with platform.sender() as sender:
        sender.send(event())
        sender.send(event("claps"))
        sender.send(event(at="yesterday"))
    report = sender.report
    assert (report.accepted, report.rejected) == (1, 2)
    assert report.reasons == {"unknown_type": 1, "invalid_time": 1}
    assert [(each.line, each.reason) for each in report.rejections] == [
        (2, "unknown_type"),
        (3, "invalid_time"),
    ]
    assert "claps" in report.rejections[0].detail


def test_refused_events_are_reported_by_their_number_among_all(platform):
    with platform.sender(BatchLimits(lines_max=10)) as sender:
        for number in range(1, 36):
            sender.send(event("claps" if number == 27 else "replies"))
    assert [each.line for each in sender.report.rejections] == [27]


def test_lines_of_a_file_are_reported_by_their_number_in_the_file(platform, tmp_path):
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(25) + lines(1, "claps") + lines(14))
    with platform.sender(BatchLimits(lines_max=10)) as sender:
        sender.send_file(path)
    assert sender.report.batches == 4
    assert [each.line for each in sender.report.rejections] == [26]


@pytest.mark.parametrize("end", [b"", b"\n", b'{"tweet_id'])
def test_a_file_counts_once_however_often_it_is_sent(
    platform, own_server, world, tmp_path, end, counted
):
    path = tmp_path / "events.ndjson"
    ours = lines(1000).replace(b"09:15", b"10:%02d" % next(NUMBERS))  # another file in each test
    path.write_bytes(ours.rstrip(b"\n") + b"\n" * bool(end) + end.strip())
    for attempt in range(2):
        with platform.sender(BatchLimits(bytes_max=20_000)) as sender:
            sender.send_file(path)
        assert sender.report.duplicates == attempt * sender.report.batches
    assert counted() == 1000


def test_a_batch_counts_once_if_its_answer_is_lost(own_server, world, monkeypatch, counted):
    """The server counts the batch, and the connection breaks before the answer."""
    real, broken = httpx.Client.stream, []

    def stream(self, method, url, **more):
        if len(broken) < 2:
            broken.append(url)
            with real(self, method, url, **more) as response:
                response.read()
            raise httpx.ReadError("the connection broke")
        return real(self, method, url, **more)

    monkeypatch.setattr(httpx.Client, "stream", stream)
    with (
        PlatformClient(own_server.url, world.platform_key, policy=QUICK) as platform,
        platform.sender() as sender,
    ):
        sender.send(event())
    assert len(broken) == 2
    assert sender.report.duplicates == 1
    assert counted() == 1


def test_the_spool_keeps_batches_while_the_server_is_away(
    connect, own_server, world, tmp_path, counted
):
    """They wait through a restart of the program, and count once."""
    own_server.stop()
    spool = tmp_path / "spool"
    with (
        connect(own_server.url, world.platform_key, policy=AWAY) as platform,
        platform.sender(BatchLimits(lines_max=10, age_max_s=PATIENCE_S), spool=spool) as sender,
    ):
        for _ in range(35):
            sender.send(event())
    assert (sender.report.accepted, sender.report.spooled) == (0, 4)
    assert {path.stat().st_mode & 0o777 for path in spool.iterdir()} == {0o600}
    own_server.start()
    with (
        connect(own_server.url, world.platform_key, policy=QUICK) as platform,
        platform.sender(spool=spool) as sender,
    ):
        sender.send(event())
    assert (sender.report.accepted, sender.report.spooled) == (36, 0)
    assert list(spool.iterdir()) == []
    assert counted() == 36


def test_the_spool_is_sent_when_the_server_comes_back(
    connect, own_server, world, tmp_path, counted
):
    own_server.stop()
    limits = BatchLimits(age_max_s=0.1)
    with (
        connect(own_server.url, world.platform_key, policy=AWAY) as platform,
        platform.sender(limits, spool=tmp_path / "spool") as sender,
    ):
        sender.send(event())
        wait_for(lambda: sender.report.spooled)
        own_server.start()
        wait_for(lambda: sender.report.accepted and not sender.report.spooled)
    assert counted() == 1


def test_without_a_spool_batches_stay_in_memory(connect, own_server, world, counted):
    own_server.stop()
    with connect(own_server.url, world.platform_key, policy=AWAY) as platform:
        sender = platform.sender()
        sender.send(event())
        with pytest.raises(TransportError):
            sender.flush()
        assert len(sender.failed) == 1
        own_server.start()
        sender.flush()
        sender.close()
        assert sender.failed == []
    assert sender.report.accepted == counted() == 1


@pytest.mark.parametrize("has_spool", [False, True])
def test_a_wrong_key_loses_nothing(connect, own_server, tmp_path, has_spool):
    spool = tmp_path / "spool" if has_spool else None
    with connect(own_server.url, "wrong", policy=QUICK) as platform:
        sender = platform.sender(spool=spool)
        sender.send(event())
        with pytest.raises(Unauthorized):
            sender.flush()
        kept = list(spool.iterdir()) if spool else sender.failed
        assert len(kept) == 1
        with pytest.raises(Unauthorized):
            sender.close()


@pytest.mark.parametrize("has_spool", [False, True])
def test_a_batch_that_is_refused_as_a_whole_is_set_aside(platform, tmp_path, has_spool):
    """Here, because it has too many lines."""
    spool = tmp_path / "spool" if has_spool else None
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"{}\n" * 1_000_001)
    sender = platform.sender(BatchLimits(lines_max=2_000_000), spool=spool)
    with pytest.raises(BadRequest) as caught:
        sender.send_file(path)
    assert caught.value.status == 413
    sender.send(event())
    sender.close()
    assert sender.report.accepted == 1
    assert len(list((spool / "refused").iterdir()) if spool else sender.refused) == 1


def test_a_batch_whose_every_record_is_refused_is_reported(platform):
    """The server answers 422, with the same report as if some were accepted."""
    batch = Batch(b'{"tweet_id": "x"}\n' * 2, f"bad {next(NUMBERS)}", first_line=7)
    report = platform.send_batch(batch)
    assert (report.accepted, report.rejected) == (0, 2)
    assert [each.line for each in report.rejections] == [7, 8]
    sender = platform.sender()
    sender.send({**event(), "type": "claps"})
    sender.close()
    assert (sender.report.accepted, sender.report.rejected) == (0, 1)
    assert sender.report.reasons == {"unknown_type": 1}
    assert (sender.failed, sender.refused) == ([], [])


def test_fields_that_the_server_does_not_know_are_reported(platform):
    sender = platform.sender()
    for more in ({}, {"promotd": True}, {"promotd": True, "source": "web"}):
        sender.send({**event(), **more})
    sender.close()
    assert sender.report.ignored_fields == {"promotd": 2, "source": 1}


def test_a_key_that_is_used_again(platform):
    key = f"a key {next(NUMBERS)}"
    assert not platform.send_batch(Batch(lines(1), key)).is_duplicate
    assert platform.send_batch(Batch(lines(1), key)).is_duplicate
    with pytest.raises(BadRequest) as caught:
        platform.send_batch(Batch(lines(2), key))
    assert (caught.value.status, caught.value.error_code) == (422, "idempotency_key_reused")


def test_compressed_batches_are_counted(connect, own_server, world, monkeypatch, counted):
    with connect(own_server.url, world.platform_key) as platform:
        assert not platform._calls.compresses
        monkeypatch.setattr("openengagement_client.platform_methods.LOOPBACK", frozenset())
    with connect(own_server.url, world.platform_key) as platform:
        assert platform._calls.compresses
        assert platform.send_batch(Batch(lines(3), f"zstd {next(NUMBERS)}")).accepted == 3
        monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
        assert compress(b"x")[1] == "gzip"
        assert platform.send_batch(Batch(lines(4), f"gzip {next(NUMBERS)}")).accepted == 4
    assert counted() == 7


def test_accounts_tweets_and_usage(platform, own_server, world):
    assert platform.register_accounts([{"id": "12", "screen_name": "erin"}]).accepted == 1
    report = platform.register_tweets(
        [{"id": "5001", "author_id": "12"}, {"id": "5002", "author_id": "13"}, {"id": "x"}]
    )
    assert (report.accepted, report.rejected, report.unknown_authors) == (2, 1, 1)
    assert report.rejections[0].line == 3
    assert platform.delete_tweet(5001) is True
    assert platform.delete_tweet("4711") is False
    with pytest.raises(BadRequest):  # it stays one part of the path
        platform.delete_tweet("a/../b")
    assert platform.usage()["month"]
    assert platform.usage("2026-10")["month"] == "2026-10"
    with pytest.raises(BadRequest):
        platform.usage("October")


def test_a_wrong_path_is_reported(connect, own_server, world):
    url = own_server.url + "/elsewhere"
    with connect(url, world.platform_key) as platform, pytest.raises(NotFound):
        platform.register_accounts([])


@pytest.mark.heavy
def test_files_are_cut_the_same_however_they_are_read():
    """Otherwise the keys of a file would change, and its events would count twice."""
    data = b"".join(b"%d\n" % (each**7) for each in range(5000)) + b"the end"
    for limits in (
        BatchLimits(lines_max=100, bytes_max=10**9),
        BatchLimits(lines_max=10**9, bytes_max=1000),
        BatchLimits(lines_max=61, bytes_max=1500),
        BatchLimits(lines_max=1, bytes_max=10**9),
        BatchLimits(lines_max=10, bytes_max=1),
    ):
        whole = list(cut_batches([data], limits))
        assert b"".join(batch.body for batch in whole) == data
        for size in (1, 7, 1000, 4096):
            blocks = [data[at : at + size] for at in range(0, len(data), size)]
            assert list(cut_batches(blocks, limits)) == whole
        first = 1
        for batch in whole:
            assert batch.first_line == first
            assert batch.key == content_key(batch.body, first)
            assert batch.lines <= limits.lines_max
            assert len(batch.body) <= limits.bytes_max or batch.lines == 1
            first += batch.lines


def test_a_spool_that_cannot_be_written_loses_nothing(
    connect, own_server, world, tmp_path, counted
):
    with connect(own_server.url, world.platform_key, policy=AWAY) as platform:
        own_server.stop()
        sender = platform.sender(spool=tmp_path / "spool")
        (tmp_path / "spool").rmdir()
        sender.send(event())
        with pytest.raises(ConfigurationError, match="cannot write the spool"):
            sender.flush()
        assert len(sender.failed) == 1
        own_server.start()
        sender.close()
    assert counted() == 1


@pytest.mark.heavy
def test_two_senders_share_a_spool(connect, own_server, world, tmp_path, counted):
    """Both send what waits there, and each batch counts once."""
    own_server.stop()
    with (
        connect(own_server.url, world.platform_key, policy=AWAY) as platform,
        platform.sender(BatchLimits(lines_max=1), spool=tmp_path) as sender,
    ):
        for _ in range(20):
            sender.send(event())
    own_server.start()
    with connect(own_server.url, world.platform_key, policy=QUICK) as platform:
        senders = [platform.sender(spool=tmp_path) for _ in range(3)]
        threads = [threading.Thread(target=each.close) for each in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert list(tmp_path.iterdir()) == []
    assert counted() == 20


def test_a_client_that_is_closed_too_early_loses_nothing(connect, own_server, world):
    with connect(own_server.url, world.platform_key, policy=QUICK) as platform:
        sender = platform.sender()
        sender.send(event())
        platform.close()
        with pytest.raises(TransportError, match="closed"):
            sender.close()
        assert len(sender.failed) == 1


@pytest.mark.heavy
def test_a_cancelled_sender_keeps_its_batches(own_server, world, tmp_path, counted):
    """The tasks that were sending are cancelled too, as at the end of `asyncio.run`."""

    async def cancel(spool):
        waits = asyncio.Queue()
        async with AsyncPlatformClient(
            own_server.url,
            world.platform_key,
            policy=RetryPolicy(attempts_max=99, backoff_s=60),
            options=Options(on_wait=lambda *wait: waits.put_nowait(wait)),
        ) as platform:
            sender = platform.sender(BatchLimits(lines_max=2), spool=spool)
            filling = asyncio.create_task(fill(sender))
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(4):  # then the slots are taken, and one batch waits for a slot
                    await waits.get()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await filling
            return sender

    async def fill(sender):
        for _ in range(100):
            await sender.send(event())

    own_server.stop()
    memory = asyncio.run(cancel(None))
    spooled = asyncio.run(cancel(tmp_path))
    assert len(memory.failed) == spooled.report.spooled == len(list(tmp_path.iterdir())) == 5
    own_server.start()
    with (
        PlatformClient(own_server.url, world.platform_key, policy=QUICK) as platform,
        platform.sender(spool=tmp_path),
    ):
        pass
    assert counted() == 10


def test_other_files_in_a_spool_are_left_alone(connect, own_server, world, tmp_path, counted):
    for name in ("notes.ndjson", "1-\u00e9.ndjson", "x-1.ndjson", "1-key.ndjson.partial"):
        (tmp_path / name).write_bytes(lines(1))
    (tmp_path / f"7-key-{next(NUMBERS)}.ndjson").write_bytes(lines(2))
    with (
        connect(own_server.url, world.platform_key, policy=QUICK) as platform,
        platform.sender(spool=tmp_path) as sender,
    ):
        sender.send(event())
    assert len(list(tmp_path.iterdir())) == 4
    assert counted() == 3


def test_a_spool_that_cannot_be_opened(connect, own_server, world, tmp_path):
    (tmp_path / "spool").write_text("a file")
    with (
        connect(own_server.url, world.platform_key) as platform,
        pytest.raises(ConfigurationError, match="cannot open the spool"),
    ):
        platform.sender(spool=tmp_path / "spool")


@cases("key", ["", "a\nb", "\u00e9", " x", "x" * 256])
def test_keys_that_no_header_can_have_are_refused(key):
    with pytest.raises(InvalidQuery):
        Batch(b"{}\n", key)


def test_times_may_be_objects(platform, counted):
    with platform.sender() as sender:
        sender.send(event(at=datetime(2024, 5, 1, 9, 15, tzinfo=UTC)))
        sender.send(event(at=datetime.now(UTC)))
    assert (sender.report.accepted, sender.report.rejected) == (2, 0)
    assert counted() == 2
