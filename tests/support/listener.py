"""HTTP servers in this process, for example the website of an app."""

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self

from support.ports import HOST


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the kernel delays connections above it by a second


class WebSite:
    """Serves on a free port in threads, inside a `with` block."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self.http = _Server((HOST, 0), handler)
        self.port = int(self.http.server_address[1])
        self._thread = Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()


class Listener(WebSite):
    """Serves `pages` and `redirects`, 404 otherwise, and records every requested path.

    Its host differs from the server's, so that browsers see two sites.
    """

    def __init__(self) -> None:
        super().__init__(self._handler())
        self.url = f"http://localhost:{self.port}"
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.pages: dict[str, str] = {"/return": "<!doctype html><title>App</title><p>Welcome"}
        self.redirects: dict[str, str] = {}

    def _handler(listener) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is a request's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path != "/favicon.ico":  # browsers request it without being told
                    listener.asked.append(self.path)
                    listener.headers.append(dict(self.headers))
                if target := listener.redirects.get(path):
                    self.send_response(302)
                    self.send_header("Location", target)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                page = listener.pages.get(path)
                body = (page or "nothing here").encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Write no log."""

        return Handler
