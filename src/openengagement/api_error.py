"""The base class of all errors that the server can answer with. `errors` has their tree."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class ApiError(Exception):
    """An error that is reported to the client.

    A subclass declares its HTTP status, its stable name (`code`), and its `text` if that is always
    the same. `texts` are the messages of the answer, `arrays` lists of Tweet ids by field name,
    `headers` extra response headers, and `details` further fields of the body.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    text: ClassVar[str] = ""
    _by_code: ClassVar[dict[str, type["ApiError"]]] = {}

    def __init_subclass__(cls, *, code: str, status: int | None = None, text: str = "") -> None:
        super().__init_subclass__()
        cls._by_code[code] = cls
        cls.code = code
        cls.status = status or cls.status
        cls.text = text or cls.text

    def __init__(
        self,
        *texts: str,
        arrays: Mapping[str, Sequence[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        self.texts = texts or ((self.text,) if self.text else ())
        super().__init__(*self.texts)
        self.arrays, self.headers, self.details = arrays or {}, headers or {}, details or {}

    @classmethod
    def from_parts(cls, code: str, texts: Sequence[str], **named: Mapping[str, Any]) -> "ApiError":
        """Rebuild an error that another process raised. An unknown code raises KeyError."""
        kind = cls._by_code[code]
        # Skip the constructor of the subclass: it would compose the texts, which exist already.
        error = kind.__new__(kind)
        ApiError.__init__(error, *texts, **named)
        return error
