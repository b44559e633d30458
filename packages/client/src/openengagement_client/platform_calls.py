"""The calls of the platform's API, without I/O, for the synchronous and the asynchronous client."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from openengagement_client import retrying
from openengagement_client.batches import Batch, compress, make_key
from openengagement_client.errors import BadRequest, NotFound, UnexpectedAnswer
from openengagement_client.http_messages import ApiCall, Steps
from openengagement_client.reports import BatchReport, parse_report
from openengagement_client.sessions import Session

Record = Mapping[str, Any]

_ALL_REJECTED: Final = "all_lines_rejected"  # 422, with the same report as 200
_PATH: Final = "/platform/v1/"
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), default=str).encode
_NDJSON: Final = {"content-type": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class PlatformCalls:
    """Builds the calls to one server. Each method returns the steps of a call.

    Bodies are compressed unless the server is on this machine.
    """

    session: Session
    compresses: bool

    def register(self, kind: str, records: Iterable[Record]) -> Steps[BatchReport]:
        """Register or change `accounts` or `tweets`."""
        return self.send(kind, Batch(b"".join(map(encode_record, records)), make_key()))

    def delete_tweet(self, tweet_id: str | int) -> Steps[bool]:
        """Make a Tweet unavailable. The result is False if it is not registered."""
        path = f"{_PATH}tweets/{quote(str(tweet_id), safe='')}"
        try:
            yield from retrying.send(ApiCall("DELETE", path), self.session)
        except NotFound:
            return False
        return True

    def usage(self, month: str | None) -> Steps[dict[str, Any]]:
        """Return the usage of every app in a month."""
        query = f"?month={quote(month, safe='')}" if month else ""
        call = ApiCall("GET", f"{_PATH}usage{query}", expects_json=True)
        found = (yield from retrying.send(call, self.session)).content
        if not isinstance(found, dict):
            raise UnexpectedAnswer("the usage is not a JSON object")
        return found

    def send(self, kind: str, batch: Batch) -> Steps[BatchReport]:
        """Send a batch of `events`, `accounts` or `tweets`."""
        body, headers = batch.body, {**_NDJSON, "idempotency-key": batch.key}
        if self.compresses:
            body, headers["content-encoding"] = compress(body)
        call = ApiCall("POST", _PATH + kind, body, headers, expects_json=True)
        try:
            answer = (yield from retrying.send(call, self.session)).content
        except BadRequest as error:
            if error.error_code != _ALL_REJECTED:
                raise
            answer = error.body
        return parse_report(answer, first_line=batch.first_line)


def encode_record(record: Record) -> bytes:
    """Encode a record as a line of NDJSON."""
    return _ENCODE(dict(record)).encode() + b"\n"
