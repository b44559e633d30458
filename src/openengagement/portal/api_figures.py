"""Read the pages' figures through the API's own code path, and show the equivalent API request.

The pages therefore always agree with the API: the request that a page shows is, byte for byte, the
request whose answer it displays.
"""

import shlex
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from openengagement.engagement.types import Endpoint
from openengagement.query import Query, ReadProtected

_PATH: Final = "/insights/engagement/{}"
# Builds the signature in the shell (RFC 5849, 3.4). Our keys and tokens need no escaping.
_CURL: Final = """\
nonce=$(openssl rand -hex 16); at=$(date +%s)
base="POST&{escaped}&oauth_consumer_key%3D$CONSUMER_KEY%26oauth_nonce%3D$nonce\
%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D$at\
%26oauth_token%3D$ACCESS_TOKEN%26oauth_version%3D1.0"
signature=$(printf %s "$base" | openssl dgst -sha1 -binary \\
  -hmac "$CONSUMER_SECRET&$ACCESS_TOKEN_SECRET" | base64 | sed 's/+/%2B/g; s/\\//%2F/g; s/=/%3D/g')
curl --compressed {url} \\
  -H "Authorization: OAuth oauth_consumer_key=\\"$CONSUMER_KEY\\", oauth_nonce=\\"$nonce\\", \
oauth_signature=\\"$signature\\", oauth_signature_method=\\"HMAC-SHA1\\", \
oauth_timestamp=\\"$at\\", oauth_token=\\"$ACCESS_TOKEN\\", oauth_version=\\"1.0\\"" \\
  -H 'Content-Type: application/json' \\
  -d {body}"""


class ApiFigures:
    """Answers API requests as the API answers the author of the Tweets."""

    def __init__(self, query: Query, read_protected: ReadProtected) -> None:
        self._query = query
        self._read_protected = read_protected

    def is_protected(self, account_id: int) -> bool:
        """Tell whether the account is protected. Then nobody, not even the owner, gets metrics."""
        return self._read_protected([account_id]).get(account_id) is not False

    def read(
        self, endpoint: Endpoint, request: Mapping[str, Any], *, account_id: int
    ) -> dict[str, Any]:
        """Return the API's answer to a request of this account, decoded from JSON.

        Raises:
            RequestError, AccessError: as the API refuses the request.
        """
        body = write_body(request).encode()
        _, answer = self._query.prepare_and_answer(endpoint, body, user_id=account_id)
        figures: dict[str, Any] = msgspec.json.decode(answer)
        return figures

    @staticmethod
    def describe_request(
        endpoint: Endpoint, request: Mapping[str, Any], *, origin: str
    ) -> dict[str, str]:
        """Describe an API request for the templates: `path`, `body` and a shell command, `curl`."""
        return describe_call(api_path(endpoint), write_body(request), origin=origin)


def api_path(endpoint: Endpoint) -> str:
    """Return the path of an endpoint."""
    return _PATH.format(endpoint)


def describe_call(path: str, body: str, *, origin: str) -> dict[str, str]:
    """Describe an API request for the templates: `path`, `body` and a shell command, `curl`."""
    url = origin + path
    shell = {"url": shlex.quote(url), "body": shlex.quote(body)}
    curl = _CURL.format(escaped=quote(url, safe=""), **shell)
    return {"path": path, "body": body, "curl": curl}


def write_body(request: Mapping[str, Any]) -> str:
    """Encode a request as JSON, one line per field."""
    fields = (f"  {_json(name)}: {_json(value)}" for name, value in request.items())
    return "{\n" + ",\n".join(fields) + "\n}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
