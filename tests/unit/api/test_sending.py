"""Answers of Starlette in parts, and answers that cannot be sent: everything is released."""

import asyncio
import gc
import weakref
from contextlib import suppress

import pytest
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from openengagement.api.asgi import Api, Hooks
from openengagement.api.routes import Authentication, Route, Routes
from openengagement.errors import InvalidField, StoreUnavailable, Unavailable
from openengagement.files import UnusableFile
from openengagement.http.reply import PIECE_BYTES, WHOLE_MAX_BYTES, Reply
from openengagement.http.request import READ_BODY
from openengagement.settings import Settings
from support.cases import cases

TOTALS, PAGE = "/insights/engagement/totals", "/sign-in"
LARGE = bytes(at * 7919 >> 5 & 255 for at in range(4 * WHOLE_MAX_BYTES + 5))


class GoneError(Exception):
    """The client closed the connection."""


class Exchange:
    """One request to an API, whose client takes `most` messages. Then `send` does `then`."""

    def __init__(
        self, answer, *, path=TOTALS, most=10_000, then=None, parts=(b"x" * 9000,), **scope
    ):
        self.path, self.most, self.then = path, most, then
        self.parts = list(parts)
        self.scope = {"method": "POST", **scope}
        self.messages = []
        self.failed = None

        async def handler(_request, read_body):
            return answer(await read_body(1_000_000, counted=True))

        async def pages(scope, receive, send):
            response = answer(await scope[READ_BODY](1_000_000, counted=True))
            await response(scope, receive, send)

        async def nothing():
            pass

        self.api = Api(
            Routes(
                [Route("POST", TOTALS, handler, Authentication.NONE, "")],
                pages,
                page_prefixes=(PAGE,),
            ),
            # The access log has a timer of its own, which holds no request.
            settings=Settings(response_timeout_s=1, body_timeout_s=1, access_log="off"),
            pool=None,
            default_headers=dict,
            hooks=Hooks(nothing, nothing, None),
        )

    async def receive(self):
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts)}

    async def send(self, message):
        if len(self.messages) == self.most:
            if self.then is not None:
                raise self.then
            await asyncio.Event().wait()
        self.messages.append(message)

    def run(self, *, cancel_after_s=None):
        """Let the API handle the request, and check that it holds nothing afterwards."""
        asyncio.run(self._run(cancel_after_s))
        return self

    async def _run(self, cancel_after_s):
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"},
            "path": self.path, "raw_path": self.path.encode(), "scheme": "http",
            "query_string": b"", "headers": [], "client": ("127.0.0.1", 5000),
            "extensions": {"http.response.pathsend": {}}, **self.scope,
        }  # fmt: skip
        before = asyncio.all_tasks()
        task = asyncio.create_task(self.api(scope, self.receive, self.send))
        if cancel_after_s is not None:
            await asyncio.sleep(cancel_after_s)
            task.cancel()
        with suppress(asyncio.CancelledError):
            try:
                await task
            except GoneError as error:
                self.failed = error
        assert (self.api._bodies._taken, self.api._outbox._budget._taken) == (0, 0)
        assert asyncio.all_tasks() == before
        assert not [each for each in asyncio.get_running_loop()._scheduled if not each.cancelled()]

    @property
    def status(self):
        start, *_ = self.messages
        assert start["type"] == "http.response.start"
        return start["status"]

    @property
    def headers_sent(self):
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self):
        assert {each["type"] for each in self.messages[1:]} == {"http.response.body"}
        more = [each.get("more_body", False) for each in self.messages[1:]]
        assert more == [True] * (len(more) - 1) + [False]
        return b"".join(each["body"] for each in self.messages[1:])


# --- every kind of response -----------------------------------------------------------------------


async def stream(parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(LARGE)
    return path


def pieces(size):
    return [LARGE[at : at + size] for at in range(0, len(LARGE), size)]


RESPONSES = {
    "bytes": lambda _: Response(LARGE),
    "file": FileResponse,
    "stream": lambda _: StreamingResponse(stream(pieces(70_000))),
    "stream of many parts": lambda _: StreamingResponse(stream(pieces(1000))),
    "stream of views": lambda _: StreamingResponse(stream(map(memoryview, pieces(9000)))),
    "stream from a thread": lambda _: StreamingResponse(iter(pieces(100_000))),
}


@pytest.mark.parametrize("make", RESPONSES.values(), ids=RESPONSES)
def test_a_page_of_any_kind_is_sent_once_and_whole(make, file):
    done = Exchange(lambda _: make(file), path=PAGE).run()
    assert done.status == 200
    assert done.body == LARGE
    assert done.headers_sent["content-length"] == str(len(LARGE))
    assert len(done.headers_sent["x-request-id"]) == 16
    assert max(len(each["body"]) for each in done.messages[1:]) == PIECE_BYTES


@pytest.mark.parametrize(
    ("ranges", "status", "body"),
    [
        ("bytes=0-0", 206, LARGE[:1]),
        ("bytes=10-99999", 206, LARGE[10:100_000]),
        ("bytes=-200000", 206, LARGE[-200_000:]),
        ("bytes=900000-", 416, b""),
    ],
)
def test_a_part_of_a_file_is_sent_once_and_whole(file, ranges, status, body):
    done = Exchange(
        lambda _: FileResponse(file), path=PAGE, method="GET", headers=[(b"range", ranges.encode())]
    ).run()
    assert (done.status, done.body) == (status, body)


def test_several_parts_of_a_file_are_sent_once(file):
    headers = [(b"range", b"bytes=0-99999,150000-250000")]
    done = Exchange(lambda _: FileResponse(file), path=PAGE, method="GET", headers=headers).run()
    assert done.status == 206
    assert int(done.headers_sent["content-length"]) == len(done.body)
    assert done.body.count(LARGE[:100_000]) == done.body.count(LARGE[150_000:250_001]) == 1


def test_the_head_of_a_file_has_its_length_and_no_body(file):
    done = Exchange(lambda _: FileResponse(file), path=PAGE, method="HEAD").run()
    assert (done.status, done.body) == (200, b"")
    assert done.headers_sent["content-length"] == str(len(LARGE))


@cases(
    "make",
    [
        lambda: HTMLResponse("hello"),
        lambda: RedirectResponse("/x"),
        lambda: Response(status_code=204),
        lambda: StreamingResponse(stream([])),
        lambda: StreamingResponse(stream([b"", b"a", b""])),
    ],
)
def test_a_small_page_is_two_messages(make):
    done = Exchange(lambda _: make(), path=PAGE).run()
    assert len(done.messages) == 2
    if done.body:
        assert done.headers_sent["content-length"] == str(len(done.body))


def test_a_stream_that_fails_becomes_an_error_page():
    async def broken():
        yield b"a"
        raise RuntimeError

    done = Exchange(lambda _: StreamingResponse(broken()), path=PAGE).run()
    assert done.status == 500
    assert b"<h1>" in done.body


# --- clients that go away -------------------------------------------------------------------------


@cases("path", [TOTALS, PAGE])
@cases("size", [10, len(LARGE)])
@cases("most", [0, 1, 2, 5])
def test_nothing_is_held_when_sending_fails(path, size, most):
    body = b"x" * size
    answer = Response if path == PAGE else lambda content: Reply(200, content, {})
    done = Exchange(lambda _: answer(body), path=path, most=most, then=GoneError()).run()
    assert len(done.messages) <= most


@cases("path", [TOTALS, PAGE])
@cases("most", [0, 1, 2, 5])
def test_nothing_is_held_when_the_request_is_cancelled_while_it_is_answered(path, most):
    answer = Response if path == PAGE else lambda content: Reply(200, content, {})
    Exchange(lambda _: answer(LARGE), path=path, most=most).run(cancel_after_s=0.05)


@pytest.mark.parametrize("path", [TOTALS, PAGE])
@pytest.mark.parametrize("then", [None, OSError()])
def test_nothing_is_held_when_the_client_goes_away_while_it_sends(path, then):
    done = Exchange(lambda _: Reply(200, b""), path=path, parts=[b"x" * 9000, b"y" * 9000])

    async def receive():
        if done.parts:
            return {"type": "http.request", "body": done.parts.pop(0), "more_body": True}
        if then is not None:
            raise then
        return {"type": "http.disconnect"}

    done.receive = receive
    done.run()
    assert done.status == (500 if then else 400)


@pytest.mark.parametrize("path", [TOTALS, PAGE])
def test_nothing_is_held_when_the_request_is_cancelled_while_it_is_read(path):
    done = Exchange(lambda _: Reply(200, b""), path=path)

    async def receive():
        if not done.parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": done.parts.pop(0), "more_body": True}

    done.receive = receive
    done.run(cancel_after_s=0.05)
    assert done.messages == []


@cases("path", [TOTALS, PAGE])
@cases(
    "error",
    [InvalidField("x: y"), StoreUnavailable("s", "r"), RuntimeError(), Unavailable("later")],
)
@cases("most", [0, 1])
def test_nothing_is_held_when_a_refusal_cannot_be_sent(path, error, most):
    def refuse(_body):
        raise error

    done = Exchange(refuse, path=path, most=most, then=GoneError()).run()
    assert isinstance(done.failed, GoneError)


# --- the connection -------------------------------------------------------------------------------


class Receiver:
    """Stands for the server's `receive`. While it exists, it keeps the connection open."""

    def __init__(self, part):
        self._part = part

    async def __call__(self):
        if self._part is None:
            await asyncio.Event().wait()
        part, self._part = self._part, None
        return {"type": "http.request", "body": part, "more_body": True}


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("path", [TOTALS, PAGE, "/platform/v1/events", "/oauth/request_token"])
@pytest.mark.parametrize("part", [b"x" * 9000, b"x" * 1_000_001], ids=["too slow", "too large"])
def test_the_connection_of_an_unread_body_is_let_go_at_once(path, part, no_collection):
    """And not when garbage is collected, which may take minutes."""
    done = Exchange(lambda _: Reply(200, b""), path=path)
    done.receive = Receiver(part)
    held = weakref.ref(done.receive)
    done.run()
    assert done.status in {404, 408, 413}
    done.receive = None
    assert held() is None


@pytest.mark.parametrize("path", [TOTALS, PAGE])
@pytest.mark.parametrize("kind", [RuntimeError, lambda: InvalidField("x: y"), UnusableFile])
def test_the_connection_of_a_failed_request_is_let_go_at_once(path, kind, no_collection):
    def fail(_body):
        raise kind()

    done = Exchange(fail, path=path, parts=[])
    done.receive = Receiver(b"")

    async def receive(receiver=done.receive):
        return {**await receiver(), "more_body": False}

    held = weakref.ref(done.receive)
    done.receive = receive
    del receive
    done.run()
    done.receive = None
    assert held() is None
