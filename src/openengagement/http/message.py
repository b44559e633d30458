"""A complete HTTP request, independent of the server and framework that received it."""

import msgspec

from openengagement.http.forms import is_form


class Message(msgspec.Struct, frozen=True):
    """A complete request, as authentication needs it. Scheme and host are as the client saw them.

    `path` and `query` are still percent-encoded. `authorization` holds every Authorization header.
    `body` is decompressed.
    """

    method: str
    scheme: str
    host: str
    path: str
    query: str
    authorization: tuple[str, ...]
    content_type: str
    body: bytes

    @property
    def is_form(self) -> bool:
        """Whether the body is that of an HTML form."""
        return is_form(self.content_type)


def scheme_and_rest(message: Message) -> tuple[str, str]:
    """Split the Authorization header into its scheme, in lower case, and the rest.

    Both are empty if the header is missing or given more than once.
    """
    if len(message.authorization) != 1:
        return "", ""
    header = message.authorization[0].strip()
    if header[:6].lower() == "oauth,":  # some clients write an empty element before the first
        return "oauth", header[5:]
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), rest.strip()
