"""How the pages of a platform look: its name, logo, colours and links. Pure functions.

The accent colour is that of links and main buttons. The other colours of the theme are mixed from
it. Every pair of colours that carries text must reach the contrast of WCAG 2.2 AA.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOGO_BYTES_MAX: Final = 102_400
NAME_LENGTH_MAX: Final = 100
_UNWRITABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode categories
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_TEXT_CONTRAST: Final = 4.5  # WCAG 2.2, 1.4.3
_SHAPE_CONTRAST: Final = 3.0  # WCAG 2.2, 1.4.11
_URL_MARKS: Final = frozenset(' "<>\\')
_SVG: Final = re.compile(rb"\s*(<\?xml[^>]*\?>\s*)?(<!--.*?-->\s*)*<svg[\s>]", re.DOTALL)
# First bytes of a picture -> its content type.
_SIGNATURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Surfaces:
    """The colours behind texts in one theme, and the colour that dark accents are made of."""

    name: str
    paper: str
    sunken: str
    ink: str


LIGHT: Final = Surfaces("light", "#ffffff", "#f2f5f5", "#101c1f")
DARK: Final = Surfaces("dark", "#0f1618", "#182124", "#e7eeef")


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture and its content type."""

    content: bytes = field(repr=False)
    kind: str


@dataclass(frozen=True, slots=True)
class Look:
    """The look of the pages. `theme` is a style sheet, empty for the product's own colours.

    `links` are URLs by name: `terms`, `privacy` and `support`; a name without a URL is missing.
    """

    name: str = "Open Engagement"
    logo: Logo | None = None
    theme: str = ""
    links: Mapping[str, str] = field(default_factory=dict)


def check_name(name: str) -> str:
    """Check the name of a platform. It goes into pages, mails and authenticator apps.

    Raises:
        ValueError: the text says what to write.
    """
    if any(unicodedata.category(char) in _UNWRITABLE for char in name):
        raise ValueError(f"write a name without control characters, not {name[:80]!r}")
    if not name.strip() or len(name) > NAME_LENGTH_MAX:
        raise ValueError(f"write a name of 1 to {NAME_LENGTH_MAX} characters")
    return name


def read_logo(path: str) -> Logo | None:
    """Read the file of a logo. No path means no logo.

    Raises:
        ValueError: the text says what to change.
    """
    if not path:
        return None
    try:
        content = Path(path).read_bytes()
    except OSError:
        raise ValueError(f"{path} cannot be read") from None
    if len(content) > LOGO_BYTES_MAX:
        raise ValueError(f"{path} has {len(content):,} bytes, more than {LOGO_BYTES_MAX:,}")
    kind = _picture_kind(content)
    if kind is None:
        raise ValueError(f"{path} is not an SVG, PNG, JPEG or WebP picture")
    return Logo(content, kind)


def _picture_kind(content: bytes) -> str | None:
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    if _SVG.match(content):
        return "image/svg+xml"
    return next((kind for mark, kind in _SIGNATURES if content.startswith(mark)), None)


def check_link(url: str, *, mail: bool = False) -> str:
    """Check the URL of a link, which may be empty. `mail` allows `mailto:`.

    Raises:
        ValueError: the text says what to write.
    """
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and not _URL_MARKS & set(url)
    is_web = parts.scheme in {"https", "http"} and bool(parts.hostname)
    is_mail = mail and parts.scheme == "mailto" and "@" in parts.path
    if url and not (plain and (is_web or is_mail)):
        more = ", or mailto: with an address" if mail else ""
        raise ValueError(f"write an https or http URL{more}, not {url[:80]!r}")
    return url


def write_theme(light: str, dark: str) -> str:
    """Write the style sheet of an accent colour in the light and in the dark theme.

    An empty colour keeps the product's own.

    Raises:
        ValueError: a contrast is too low. The text has the ratio.
    """
    rules = []
    if light:
        rules.append(f":root {{ {_declare(light, LIGHT)} }}")
    if dark:
        rules.append(
            f"@media (prefers-color-scheme: dark) {{ :root {{ {_declare(dark, DARK)} }} }}"
        )
    elif light:
        # The rule above also holds in the dark theme, so it must not apply there.
        rules = [f"@media (prefers-color-scheme: light) {{ {rules[0]} }}"]
    return "\n".join(rules)


def _declare(accent: str, surfaces: Surfaces) -> str:
    colours = derive_colours(accent, surfaces)
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def derive_colours(accent: str, surfaces: Surfaces) -> dict[str, str]:
    """Mix the colours of a theme from its accent colour, and check them.

    Raises:
        ValueError: it is no colour, or a contrast is too low.
    """
    if not _COLOUR.fullmatch(accent):
        raise ValueError(f"write a colour such as #0b5f73, not {accent[:80]!r}")
    colours = {
        "accent": accent.lower(),
        "accent-strong": mix(accent, surfaces.ink, share=0.3),
        "on-accent": surfaces.paper,
        "wash": mix(accent, surfaces.paper, share=0.9),
        "bar": mix(accent, surfaces.paper, share=0.15),
    }
    other = "a darker" if surfaces is LIGHT else "a lighter"
    for front, back, least in (
        (accent, surfaces.paper, _TEXT_CONTRAST),
        (accent, surfaces.sunken, _TEXT_CONTRAST),
        (accent, colours["wash"], _TEXT_CONTRAST),
        (colours["bar"], surfaces.paper, _SHAPE_CONTRAST),
    ):
        ratio = contrast(front, back)
        if ratio < least:
            raise ValueError(
                f"the contrast of {front} with {back} is {_floor(ratio)} to 1, and the "
                f"{surfaces.name} theme needs {least} to 1; choose {other} colour"
            )
    return colours


def _floor(ratio: float) -> float:
    """Round down, so that a ratio that is too low never reads as if it were enough."""
    return int(100 * ratio) / 100


def mix(one: str, other: str, *, share: float) -> str:
    """Mix two colours; `share` is that of the other one."""
    pairs = zip(_read(one), _read(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2), from 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (part / 255 for part in _read(colour))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _read(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
