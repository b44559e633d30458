"""An HTTP request as authentication sees it, whatever server it came through."""

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A request as the client sent it: scheme and host are those the client saw.

    `path` and `query` are raw, still percent-encoded. `authorization` holds every Authorization
    header there was.
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
        return (
            self.content_type.partition(";")[0].strip().lower()
            == "application/x-www-form-urlencoded"
        )
