"""A bare ASGI handler on the Granian settings of `openengagement serve`.

It reads the body and answers a fixed small one, so its rate is an upper limit for ours. It runs
through the product's launcher with another target. A change of the product's Granian settings
therefore changes this handler too.
"""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from granian import Granian

from openengagement.processes import supervisor as launch

BODY = b'{"by tweet":{"20":{"favorites":"12","replies":"3","retweets":"5"}}}'
HEADERS = [
    (b"content-type", b"application/json;charset=utf-8"),
    (b"content-length", str(len(BODY)).encode()),
]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """The whole application."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def create_app() -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    return answer


def _with_bare_target(_target: str, **settings: Any) -> Granian:  # noqa: ANN401
    return Granian("bare:create_app", **settings)


if __name__ == "__main__":
    launch.Granian = _with_bare_target
    launch.counting_supervisor = nullcontext  # it has no data folder
    launch.main()
