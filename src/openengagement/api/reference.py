"""`GET /openapi.json`: the OpenAPI document of this server."""

from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import version
from typing import Any, Final

import msgspec

from openengagement.api.openapi.document import Route, build_document
from openengagement.http.reply import JSON, Reply
from openengagement.http.request import ReadBody, Request

DOCUMENT_PATH: Final = "/openapi.json"


class Reference:
    """The document, which is built when it is first asked for.

    `routes` is set once the table of routes exists, because this handler is in it.
    """

    routes: Iterable[Route] = ()

    def __init__(self, *, groupings_max: int) -> None:
        self._groupings_max = groupings_max

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document."""
        return build_document(
            self.routes, version=version("openengagement"), groupings_max=self._groupings_max
        )

    @cached_property
    def _encoded(self) -> bytes:
        return msgspec.json.encode(self.document)

    async def read(self, _request: Request, _read_body: ReadBody) -> Reply:
        """`GET /openapi.json`."""
        return Reply(200, self._encoded, {"content-type": JSON})
