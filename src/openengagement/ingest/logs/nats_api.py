"""The part of JetStream's API that the consumer uses: requests in JSON, and headers of messages.

Source: the server's own API, https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from openengagement.ingest.logs.contract import LogUnavailable, LogUnusable

TIMEOUT_S: Final = 3.0
HEARTBEAT_S: Final = 2.0  # of a pull request without messages
PULL_EXPIRES_S: Final = 30.0
_RETRY_S: Final = 0.1
_NS: Final = 1_000_000_000
_INACTIVE_S: Final = 60.0  # after which the server forgets a consumer that nobody pulls from
_STREAM_NOT_FOUND: Final = 10_059
_METADATA_TOKENS: Final = 9
T = TypeVar("T")
FAILURES: Final = (NatsError, OSError, TimeoutError, EOFError, ValueError)


class _Error(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class StreamConfig(msgspec.Struct):
    """The part of a stream's configuration that matters here."""

    name: str
    subjects: list[str] = []
    retention: str = "limits"
    storage: str = "file"
    num_replicas: int = 1
    max_msg_size: int = -1  # without a limit


class StreamState(msgspec.Struct):
    """The first and the last sequence of a stream. The first is larger if it has no message."""

    first_seq: int
    last_seq: int


class Stream(msgspec.Struct):
    """A stream. `created` identifies it among all streams that had its name."""

    config: StreamConfig
    state: StreamState
    created: str


class _Reply(msgspec.Struct):
    error: _Error | None = None


class _StreamNames(msgspec.Struct):
    streams: list[str] | None = None


class ConsumerMade(msgspec.Struct):
    """A new consumer on the server."""

    name: str
    num_pending: int = 0


class Published(msgspec.Struct, frozen=True):
    """The answer to a message. It is a `duplicate` if the stream has one with this id."""

    stream: str
    duplicate: bool = False


class Delivered(msgspec.Struct, frozen=True):
    """What the reply subject of a message says."""

    consumer: str
    sequence: int
    number: int  # of the message among those of the consumer, from 1 on
    sent_s: float
    pending: int  # messages of the consumer after this one


def read_delivered(reply: str) -> Delivered:
    """Read the reply subject of a message.

    Raises:
        ValueError: it is none of JetStream's.
    """
    tokens = reply.split(".")
    if tokens[:2] != ["$JS", "ACK"] or len(tokens) < _METADATA_TOKENS:
        raise ValueError("no message of JetStream")
    if len(tokens) > _METADATA_TOKENS:  # newer servers name their domain and account first
        tokens = [*tokens[:2], *tokens[4:]]
    _, _, _, consumer, _, sequence, number, sent_ns, pending = tokens[:_METADATA_TOKENS]
    return Delivered(consumer, int(sequence), int(number), int(sent_ns) / _NS, int(pending))


async def read_stream(client: Client, name: str) -> Stream:
    """Read the state of a stream.

    Raises:
        LogUnusable: there is no such stream, or no JetStream.
        LogUnavailable: try again later.
    """
    return await _ask(client, f"STREAM.INFO.{name}", body={}, kind=Stream)


async def has_stream_for(client: Client, subject: str) -> bool:
    """Whether some stream has a subject. Raises as `read_stream`."""
    found = await _ask(client, "STREAM.NAMES", body={"subject": subject}, kind=_StreamNames)
    return bool(found.streams) and not {"*", ">"} & set(subject.split("."))


async def create_consumer(client: Client, stream: str, *, subject: str, after: int) -> ConsumerMade:
    """Create a consumer of the messages after a sequence. Nothing is acknowledged to it.

    Raises:
        LogUnusable, LogUnavailable
    """
    config: dict[str, Any] = {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": after + 1,
        "ack_policy": "none",
        "replay_policy": "instant",
        "max_deliver": 1,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(_INACTIVE_S * _NS),
    }
    if subject:
        config["filter_subject"] = subject
    body = {"stream_name": stream, "config": config}
    return await _ask(client, f"CONSUMER.CREATE.{stream}", body=body, kind=ConsumerMade)


async def delete_consumer(client: Client, consumer: str) -> None:
    """Let the server forget a consumer, `STREAM.NAME`."""
    await client.publish(f"$JS.API.CONSUMER.DELETE.{consumer}", b"")


async def pull(client: Client, consumer: str, *, inbox: str, messages: int, bytes_max: int) -> None:
    """Ask for messages of a consumer, `STREAM.NAME`.

    They are sent to `inbox`, and so is a status when the request ends early.
    """
    body = {
        "batch": messages,
        "max_bytes": bytes_max,
        "expires": int(PULL_EXPIRES_S * _NS),
        "idle_heartbeat": int(HEARTBEAT_S * _NS),
    }
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{consumer}"
    await client.publish(subject, msgspec.json.encode(body), reply=inbox)


async def publish(
    client: Client, subject: str, *, body: bytes, headers: Mapping[str, str]
) -> Published:
    """Publish a message into the stream of a subject. Return when the stream has it.

    Raises:
        LogUnavailable: it may have been published.
    """
    try:
        answer = await client.request(subject, body, timeout=TIMEOUT_S, headers=dict(headers))
    except NoRespondersError:
        raise LogUnavailable(f"no stream has the subject {subject}") from None
    except FAILURES as error:
        raise LogUnavailable(f"{subject}: {explain(error)}") from error
    if error_of := msgspec.json.decode(answer.data, type=_Reply).error:
        raise LogUnavailable(f"{subject}: {error_of.description}")
    return msgspec.json.decode(answer.data, type=Published)


def status_of(message: Msg) -> str:
    """Return the status of a message that has no content but a status, else an empty text."""
    return (message.headers or {}).get("Status", "") if not message.reply else ""


def explain(error: BaseException) -> str:
    """Say in a few words what went wrong."""
    text = str(error).removeprefix("nats: ").strip(" '\"")
    if isinstance(error, TimeoutError) or not text:
        return "it does not answer"
    return text


def verify_retention(config: StreamConfig) -> None:
    """Verify that a stream keeps messages that were acknowledged.

    Raises:
        LogUnusable
    """
    if config.retention != "limits":
        raise LogUnusable(
            f"the stream {config.name} has the retention {config.retention!r}, which removes "
            "messages when they are acknowledged; use 'limits'"
        )


def overlap(one: str, other: str) -> bool:
    """Whether some subject fits both filters."""
    first, second = one.split("."), other.split(".")
    for left, right in zip(first, second, strict=False):
        if ">" in {left, right}:
            return True
        if left != right and "*" not in {left, right}:
            return False
    return len(first) == len(second)


class _Client(Client):  # type: ignore[misc]  # the library has no types
    """A client that survives headers which are none.

    The library ends its connection instead, so one message would stop a consumer for ever.
    """

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except (IndexError, UnicodeDecodeError):
            return None
        return found


async def connect(host: str, **options: Any) -> Client:  # noqa: ANN401 - options of the library
    """Connect to one server, `HOST:PORT`.

    Raises:
        LogUnavailable: it does not answer, or refuses the credentials.
    """
    reasons: list[Exception] = []

    async def note(error: Exception) -> None:
        # Later errors of the connection are those of the next step, which fails too.
        reasons.append(error)

    client = _Client()
    step = client.connect(
        [f"nats://{host}"],
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=_RETRY_S,
        connect_timeout=TIMEOUT_S,
        ping_interval=2,
        max_outstanding_pings=2,
        error_cb=note,
        **options,
    )
    try:
        await _finish(step, timeout_s=2 * TIMEOUT_S)
    except FAILURES as error:
        with contextlib.suppress(AssertionError, *FAILURES):  # it may never have connected
            await _finish(client.close(), timeout_s=TIMEOUT_S)
        raise LogUnavailable(explain(reasons[0] if reasons else error)) from error
    return client


async def _finish(step: Coroutine[Any, Any, None], *, timeout_s: float) -> None:
    """Wait for a step of the library, which may ignore that it is cancelled.

    Raises:
        TimeoutError
    """
    task = asyncio.ensure_future(step)
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    if not done:
        task.cancel()
        raise TimeoutError
    task.result()


async def _ask(client: Client, call: str, *, body: dict[str, Any], kind: type[T]) -> T:
    try:
        answer = await client.request(
            f"$JS.API.{call}", msgspec.json.encode(body), timeout=TIMEOUT_S
        )
    except NoRespondersError:
        raise LogUnusable("this server of NATS, or this account, has no JetStream") from None
    except FAILURES as error:
        raise LogUnavailable(explain(error)) from error
    if fault := msgspec.json.decode(answer.data, type=_Reply).error:
        if fault.err_code == _STREAM_NOT_FOUND:
            raise LogUnusable(f"there is no stream {call.rpartition('.')[2]}")
        raise LogUnavailable(fault.description)
    return msgspec.json.decode(answer.data, type=kind)
