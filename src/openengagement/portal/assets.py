"""Static files: served under names that change with their content, compressed ahead of time."""

import hashlib
import mimetypes
from importlib import resources
from pathlib import PurePosixPath
from typing import Final

import msgspec
from starlette.responses import Response

from openengagement.engagement.types import DAY_S
from openengagement.http.encoding import compress_file
from openengagement.language.languages import Language
from openengagement.language.negotiation import Languages
from openengagement.look import Look

STATIC_PREFIX: Final = "/static/"
_CACHE_S: Final = 365 * DAY_S
_HASH_DIGITS: Final = 12
_SVG: Final = "image/svg+xml"
# A logo may have styles of its own. It runs no script, not even if somebody opens it alone.
_SVG_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class Assets:
    """The static files of the pages, read and compressed once.

    The platform's logo is `logo`, its colours are `theme.css`, and `messages-CODE.js` has the texts
    of static scripts in a language.

    A file's name holds a hash of its content, so browsers may cache it for a year. Files of other
    projects are in the folder `vendor/` with their licences.
    """

    def __init__(self, look: Look, languages: Languages) -> None:
        self._names: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, bytes, str]] = {}  # plain, compressed, content type
        static = resources.files("openengagement.portal").joinpath("static")
        for prefix, folder in (("", static), ("vendor/", static.joinpath("vendor"))):
            for file in folder.iterdir():
                if file.is_file():
                    self._add(prefix + file.name, file.read_bytes())
        for language in languages.offered.values():
            self._add(f"messages-{language.code}.js", write_messages(language))
        if look.theme:
            self._add("theme.css", look.theme.encode())
        if look.logo:
            self._add("logo", look.logo.content, kind=look.logo.kind)

    def _add(self, name: str, content: bytes, *, kind: str = "") -> None:
        path = PurePosixPath(name)
        digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
        self._names[name] = f"{path.stem}.{digest}{path.suffix}"
        kind = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self._files[self._names[name]] = (content, compress_file(content), kind)

    def url(self, name: str) -> str:
        """Return the path of a static file by its plain name."""
        return STATIC_PREFIX + self._names[name]

    def respond(self, name: str, *, gzip: bool) -> Response | None:
        """Answer with a static file by its hashed name; None if there is none of that name."""
        if name not in self._files:
            return None
        content, compressed, kind = self._files[name]
        headers = {
            "cache-control": f"public, max-age={_CACHE_S}, immutable",
            "x-content-type-options": "nosniff",
            "vary": "accept-encoding",
        }
        if kind == _SVG:
            headers["content-security-policy"] = _SVG_POLICY
        if gzip:
            content, headers["content-encoding"] = compressed, "gzip"
        return Response(content, media_type=kind, headers=headers)


def write_messages(language: Language) -> bytes:
    """Write the script with a language's tag, number marks and texts for `static/language.js`."""
    formats = language.formats
    content = {
        "tag": formats.tag,
        "group": formats.group,
        "decimal": formats.decimal,
        "texts": {text: language.texts[text] for text in language.script_texts},
    }
    return b"const LANGUAGE = " + msgspec.json.encode(content) + b";\n"
