"""An independent implementation of the wire, written from its contract, that misbehaves on request.

It shares no code with the client or with the server of Open Engagement: `http.server` answers, and
oauthlib verifies the signatures. It is strict where the original was: gzip is demanded, a nonce
counts once, timestamps may be off by 300 s, and a request over a limit is refused.

`faults` are the names of the methods `_fault_*`. Each data request uses up one of them. An empty
name is a request without a fault.
"""

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote

from oauthlib.oauth1 import Client
from oauthlib.oauth1.rfc5849 import signature as reference

from figures import SOME_HOUR, direct_groupings, hours_of

KEYS = {
    "consumer_key": "a consumer key",
    "consumer_secret": "a consumer & its secret",
    "access_token": "7-an access token",
    "access_token_secret": "a token's secret",
}
BEARER_TOKEN = "AAAA%2Fbearer"
PUBLIC = {"favorites", "retweets", "replies", "quote_tweets", "video_views"}
IDS_MAX = {"totals": 250, "28hr": 25, "historical": 25}
FOUR_MAX = 1
PERIODS_S = {"minute": 60, "second": 1}


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, text: str, **lists: list[str]) -> None:
        super().__init__(text)
        self.status, self.body = status, {"errors": [text], **lists}


@dataclass
class Misbehaving:
    """The server and its state: `with Misbehaving() as server: ... server.url ...`."""

    unavailable: set[str] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)
    too_old: set[str] = field(default_factory=set)
    faults: deque[str] = field(default_factory=deque)
    clock_offset_s: float = 0.0
    limits: dict[str, int] = field(default_factory=lambda: {"minute": 6000, "second": 6000})
    periods_s: dict[str, float] = field(default_factory=lambda: dict(PERIODS_S))
    forbidden_named_max: int = 1000
    forbidden_text: str = "Forbidden to access tweets: {ids}"
    groupings_max: int = 3
    pause_s: float = 0.0
    rate_headers: bool = True
    more_headers: dict[str, str] = field(default_factory=dict)
    elsewhere: str = ""

    # What it saw.
    bodies: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.go_on = threading.Event()
        self.at_once = 0
        self.used: dict[tuple[str, int], int] = {}
        handler = type("Handler", (_Handler,), {"state": self})
        self.http = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(target=self.http.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()

    def now_s(self) -> float:
        return time.time() + self.clock_offset_s

    # --- the wire ---------------------------------------------------------------------------

    def answer(self, endpoint: str, raw: bytes, *, is_user: bool) -> dict[str, Any]:
        """Answer a request of the data API, or raise a Refusal."""
        try:
            body = json.loads(raw)
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        with self.lock:
            self.bodies.append(body)
        ids, types, groupings = self._fields(endpoint, body)
        window = self._window(endpoint, body)
        available = [each for each in ids if each not in self.unavailable]
        lists = {"unavailable_tweet_ids": [each for each in ids if each in self.unavailable]}
        if not available:
            raise Refusal(400, f"{len(ids)} Tweet ID(s) are unavailable", **lists)
        self._check_rights(endpoint, available, types=types, is_user=is_user)
        aged, zero = self._ages(endpoint, available, types)
        lists |= aged
        text = "Impressions & engagements for tweets older than 90 days (TIME) are not supported"
        name = "unsupported_for_impressions_engagements_tweet_ids"
        partial = {"errors": [text]} if lists.get(name) else {}
        lists = {name: ids for name, ids in lists.items() if ids}
        if len(zero) == len(available) and all(set(types) <= each for each in zero.values()):
            raise Refusal(400, text, **lists)
        hours = hours_of(*window) if window else SOME_HOUR
        shown = {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in self._echo(body, hours)}
        return {
            **(shown if window else {}),
            **lists,
            **partial,
            **self._groupings(groupings, available, types=types, hours=hours, zero=set(zero)),
        }

    def _fields(self, endpoint: str, body: Any) -> tuple[list[str], list[str], dict[str, Any]]:
        missing = [n for n in ("tweet_ids", "engagement_types", "groupings") if not body.get(n)]
        if missing:
            raise Refusal(400, f"{missing[0]}: field is required")
        ids = [str(each) for each in body["tweet_ids"]]
        if len(ids) > IDS_MAX[endpoint]:
            raise Refusal(400, f"tweet_ids: more than {IDS_MAX[endpoint]}")
        groupings = {name: each["group_by"] for name, each in body["groupings"].items()}
        four = [each for each in groupings.values() if len(each) == 4]
        if len(groupings) > self.groupings_max or len(four) > FOUR_MAX:
            raise Refusal(400, "groupings: too many")
        times = {"engagement.day", "engagement.hour"}
        if endpoint == "totals" and any(times & set(each) for each in groupings.values()):
            raise Refusal(400, "One or more of the groupBys you have specified are not supported")
        return list(dict.fromkeys(ids)), list(dict.fromkeys(body["engagement_types"])), groupings

    def _window(self, endpoint: str, body: Any) -> tuple[datetime, datetime] | None:
        now = datetime.fromtimestamp(self.now_s(), UTC)
        if endpoint == "totals":
            return None
        if endpoint == "28hr":
            return now - timedelta(hours=28), now
        start, end = (
            datetime.fromisoformat(body[name]) if name in body else None
            for name in ("start", "end")
        )
        rounded = hours_of(now, now + timedelta(seconds=1))[-1] + timedelta(hours=1)
        start = start or (end or rounded) - timedelta(days=28)
        end = end or now
        if end > rounded or start >= end or end - start > timedelta(days=28):
            raise Refusal(400, f"start, end: {start} to {end} is not possible")
        return start, end

    def _echo(self, body: Any, hours: list[datetime]) -> list[tuple[str, datetime]]:
        return [("start", hours[0]), ("end", hours[-1] + timedelta(hours=1))]

    def _check_rights(
        self, endpoint: str, ids: list[str], *, types: list[str], is_user: bool
    ) -> None:
        foreign = [each for each in ids if each in self.foreign]
        if is_user and foreign:
            named = ", ".join(foreign[: self.forbidden_named_max])
            raise Refusal(403, self.forbidden_text.format(ids=named))
        private = types if endpoint != "totals" else [each for each in types if each not in PUBLIC]
        if not is_user and private:
            raise Refusal(403, f"Forbidden to access metrics: {', '.join(private)}")

    def _ages(
        self, endpoint: str, ids: list[str], types: list[str]
    ) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
        """Return the lists of Tweets that are too old, and for each the types that it lacks."""
        old = [each for each in ids if each in self.too_old]
        zero: dict[str, set[str]] = {each: set() for each in old}
        lists = {}
        if endpoint == "totals" and {"impressions", "engagements"} & set(types):
            lists["unsupported_for_impressions_engagements_tweet_ids"] = old
            for each in zero.values():
                each |= {"impressions", "engagements"}
        if "video_views" in types:
            lists["unsupported_for_video_views_tweet_ids"] = old
            for each in zero.values():
                each.add("video_views")
        return lists, zero

    def _groupings(self, groupings: Any, ids: list[str], **more: Any) -> Any:
        return direct_groupings(groupings, ids, **more)

    # --- limits -----------------------------------------------------------------------------

    def count(self) -> tuple[bool, dict[str, str]]:
        """Count a request. Return whether it is over a limit, and the six headers."""
        headers, is_over = {}, False
        with self.lock:
            for unit, limit in self.limits.items():
                period_s = self.periods_s[unit]
                window = int(self.now_s() // period_s)
                used = self.used[unit, window] = self.used.get((unit, window), 0) + 1
                is_over |= used > limit
                headers[f"x-per-{unit}-limit"] = str(limit)
                headers[f"x-per-{unit}-remaining"] = str(max(0, limit - used))
                headers[f"x-per-{unit}-reset"] = str(int((window + 1) * period_s))
        return is_over, headers if self.rate_headers else {}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing if a client closes its connection."""


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, checks it in the order of the contract, and answers or misbehaves."""

    protocol_version = "HTTP/1.1"
    state: Misbehaving

    def log_message(self, *_: object) -> None:
        """Write no log."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.state.now_s() if timestamp is None else timestamp, usegmt=True)

    def do_GET(self) -> None:
        self.send(404, b"", {})

    def do_POST(self) -> None:
        state = self.state
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        with state.lock:
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            fault = state.faults.popleft() if state.faults else ""
        try:
            time.sleep(state.pause_s)
            if fault:
                misbehave: Callable[[bytes], None] = getattr(self, f"_fault_{fault}")
                misbehave(raw)
            else:
                self._serve(raw)
        finally:
            with state.lock:
                state.at_once -= 1

    def _serve(self, raw: bytes) -> None:
        headers: dict[str, str] = {}
        try:
            headers, body = self._answer(raw, headers)
            status = 200
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        self.send(status, json.dumps(body).encode(), headers)

    def _answer(self, raw: bytes, headers: dict[str, str]) -> tuple[dict[str, str], Any]:
        if "gzip" not in self.headers.get("accept-encoding", ""):
            raise Refusal(406, "This request requires gzip compression.")
        is_user = self._authenticate()
        is_over, counted = self.state.count()
        headers.update(counted)
        if is_over:
            raise Refusal(429, "Rate limit exceeded")
        endpoint = self.path.rpartition("/")[2]
        return headers, self.state.answer(endpoint, raw, is_user=is_user)

    def _authenticate(self) -> bool:
        """Verify the credentials. Return whether there is a user."""
        scheme, _, rest = self.headers.get("authorization", "").partition(" ")
        reason = "Your account could not be authenticated. Reason: "
        if scheme == "Bearer" and rest == BEARER_TOKEN:
            return False
        if scheme != "OAuth":
            raise Refusal(401, reason + "Unknown Authorization Type")
        fields = dict(part.strip().split("=", 1) for part in rest.split(","))
        given = [(name, unquote(value.strip('"'))) for name, value in fields.items()]
        signed, values = [pair for pair in given if pair[0] != "oauth_signature"], dict(given)
        if abs(int(values["oauth_timestamp"]) - self.state.now_s()) > 300:
            raise Refusal(401, reason + "Timestamp out of bounds")
        secret = KEYS["access_token_secret"] if values.get("oauth_token") else None
        url = f"http://{self.headers['host']}{self.path}"
        base = reference.signature_base_string(
            "POST", reference.base_string_uri(url), reference.normalize_parameters(signed)
        )
        client = Client("", client_secret=KEYS["consumer_secret"], resource_owner_secret=secret)
        if reference.sign_hmac_sha1_with_client(base, client) != values["oauth_signature"]:
            raise Refusal(401, reason + "Invalid signature")
        with self.state.lock:
            if values["oauth_nonce"] in self.state.nonces:
                raise Refusal(401, reason + "Nonce already used")
            self.state.nonces.append(values["oauth_nonce"])
        return secret is not None

    def send(
        self, status: int, body: bytes, headers: dict[str, str], *, cut: int | None = None
    ) -> None:
        """Answer with gzip. With `cut`, send only so many bytes and close the connection."""
        self.state.statuses.append(status)
        packed = body if status == 406 else gzip.compress(body, 1)
        self.send_response(status)
        headers = {**headers, **self.state.more_headers}
        more = {} if status == 406 else {"content-encoding": "gzip"}
        all_headers = {"content-type": "application/json", **more, **headers}
        for name, value in {**all_headers, "content-length": str(len(packed))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(packed if cut is None else packed[:cut])
        if cut is not None:
            self.close_connection = True

    # --- faults -----------------------------------------------------------------------------

    def _refuse(self, status: int, text: str, **headers: str) -> None:
        self.send(status, json.dumps({"errors": [text]}).encode(), headers)

    def _fault_429(self, _: bytes) -> None:
        self._refuse(429, "Rate limit exceeded")

    def _fault_later(self, _: bytes) -> None:
        """Refuse, and say when to come back."""
        self._refuse(429, "Rate limit exceeded", **{"retry-after": "1"})

    def _fault_held(self, raw: bytes) -> None:
        """Answer once `go_on` is set."""
        self.state.go_on.wait()
        self._serve(raw)

    def _fault_408(self, _: bytes) -> None:
        self._refuse(408, "Request timeout")

    def _fault_407(self, _: bytes) -> None:
        """Refuse as a proxy does."""
        self.send(407, b"<html>Proxy authentication required</html>", {})

    def _fault_400(self, _: bytes) -> None:
        self._refuse(400, "no")

    def _fault_500(self, _: bytes) -> None:
        self._refuse(500, "internal server error")

    def _fault_502(self, _: bytes) -> None:
        self.send(502, b"<html>Bad gateway</html>", {"content-type": "text/html"})

    def _fault_503(self, _: bytes) -> None:
        self._refuse(503, "The data store is not available now.", **{"retry-after": "0"})

    def _fault_404(self, _: bytes) -> None:
        self.send(404, b"", {})

    def _fault_406(self, _: bytes) -> None:
        self._refuse(406, "This request requires gzip compression.")

    def _fault_closed(self, _: bytes) -> None:
        self.close_connection = True

    def _fault_cut_body(self, raw: bytes) -> None:
        """Close the connection before the end of the body."""
        self.send(200, self._good(raw), {}, cut=15)

    def _fault_cut_gzip(self, raw: bytes) -> None:
        """Send gzip that ends early, in a whole HTTP message."""
        packed = gzip.compress(self._good(raw))[:-9]
        self._send_raw(packed, {"content-encoding": "gzip"})

    def _fault_damaged_gzip(self, raw: bytes) -> None:
        packed = bytearray(gzip.compress(self._good(raw)))
        packed[len(packed) // 2] ^= 0xFF
        self._send_raw(bytes(packed), {"content-encoding": "gzip"})

    def _fault_cut_json(self, raw: bytes) -> None:
        self.send(200, self._good(raw)[:-5], {})

    def _fault_html(self, _: bytes) -> None:
        self.send(200, b"<html>a captive portal</html>", {})

    def _fault_other_json(self, _: bytes) -> None:
        self.send(200, b'{"hello": "world"}', {})

    def _fault_redirect(self, _: bytes) -> None:
        """Lead the client, and its credentials, to another server."""
        self.send(307, b"", {"location": f"{self.state.elsewhere}{self.path}"})

    def _fault_bomb(self, _: bytes) -> None:
        """Send 100 kB that become 100 MB."""
        self._send_raw(gzip.compress(b" " * 100_000_000, 9), {"content-encoding": "gzip"})

    def _fault_endless(self, _: bytes) -> None:
        """Send more than any answer has, until the client closes the connection."""
        self.send_response(200)
        self.send_header("content-length", str(10**12))
        self.end_headers()
        for _piece in range(100):
            self.wfile.write(b" " * 1_000_000)

    def _fault_deep(self, _: bytes) -> None:
        """Send JSON that overflows the stack of a parser."""
        self.send(200, b'{"totals": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", {})

    def _fault_deep_array(self, _: bytes) -> None:
        self.send(200, b"[" * 200_000 + b"]" * 200_000, {})

    def _fault_deep_refusal(self, _: bytes) -> None:
        self.send(400, b"[" * 200_000 + b"]" * 200_000, {})

    def _fault_words(self, _: bytes) -> None:
        self._send_totals({"1": {"favorites": "many"}})

    def _fault_digits(self, _: bytes) -> None:
        """Send a count that Python refuses to convert."""
        self._send_totals({"1": {"favorites": "9" * 5000}})

    def _fault_flat(self, _: bytes) -> None:
        self._send_totals({"1": "5"})

    def _fault_control(self, _: bytes) -> None:
        """Refuse with text that would control a terminal."""
        self._refuse(400, "\x1b]0;owned\x07\x1b[2J" + "x" * 100_000)

    def _send_totals(self, tree: Any) -> None:
        self.send(200, json.dumps({"totals": tree}).encode(), {})

    def _fault_slow(self, raw: bytes) -> None:
        """Send the body in many small pieces."""
        packed = gzip.compress(self._good(raw))
        self.send_response(200)
        for name, value in (("content-encoding", "gzip"), ("content-length", str(len(packed)))):
            self.send_header(name, value)
        self.end_headers()
        step = max(1, len(packed) // 10)
        for at in range(0, len(packed), step):
            self.wfile.write(packed[at : at + step])
            self.wfile.flush()
            time.sleep(0.02)

    def _send_raw(self, packed: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "content-length": str(len(packed))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(packed)

    def _good(self, raw: bytes) -> bytes:
        endpoint = self.path.rpartition("/")[2]
        return json.dumps(self.state.answer(endpoint, raw, is_user=True)).encode()
