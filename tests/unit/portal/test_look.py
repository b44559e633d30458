"""The style sheet is small, self-contained and readable in light and dark mode."""

import re
from pathlib import Path

import pytest

import openengagement

PORTAL = Path(openengagement.__file__).parent / "portal"
CSS = (PORTAL / "static" / "portal.css").read_text(encoding="utf-8")
SIZE_MAX = 24 * 1024

SURFACES = ("paper", "card", "sunken")
TEXT = [
    *((text, on) for text in ("ink", "ink-soft", "accent") for on in SURFACES),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("danger", "card"),
    ("danger", "danger-wash"),
    ("ink", "danger-wash"),
    ("on-danger", "danger"),
    ("on-danger", "danger-strong"),
    *((f"hue-{i}", "card") for i in range(6)),
]
EDGES = [("edge", on) for on in SURFACES]


def tokens(block):
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", block))


LIGHT = tokens(CSS.split(":root {")[1])
DARK = LIGHT | tokens(CSS.split("@media (prefers-color-scheme: dark)")[1].split(":root {")[1])


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_black_on_white():
    assert contrast("#000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_is_aa(theme):
    """4.5 to 1 for text, 3 to 1 for the outline of a control."""
    poor = {
        f"{text} on {on}": round(contrast(theme[text], theme[on]), 2)
        for pairs, least in ((TEXT, 4.5), (EDGES, 3.0))
        for text, on in pairs
        if contrast(theme[text], theme[on]) < least
    }
    assert poor == {}


def test_dark_mode_changes_every_colour():
    """A colour that is the same in both modes was most likely forgotten."""
    assert {name for name in LIGHT if DARK[name] == LIGHT[name]} == set()


def test_style_sheet_is_small_and_loads_nothing():
    assert len(CSS.encode()) <= SIZE_MAX
    assert re.search(r"@import|url\((?!\))|expression", CSS) is None


def test_every_design_token_in_use_is_defined():
    defined = set(re.findall(r"(--[\w-]+):", CSS))
    used = set(re.findall(r"var\((--[\w-]+)", CSS))
    assert used <= defined


SHEETS = [path for path in sorted((PORTAL / "static").glob("*.css")) if path.stem != "style_guide"]
RULES = re.compile(
    r"^ +(font-size|border-radius|padding[a-z-]*|margin[a-z-]*|gap): ([^;]+);", re.MULTILINE
)
# The border of a control, a hairline, and the room of the tray that a focused element needs.
SPACES = {"0.6875rem", "1px", "2px", "3px", "6px", "9rem"}


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.stem)
def test_sizes_are_those_of_the_scales(sheet):
    """Type, radii and spaces are tokens, so that every page has the same scale."""
    stray = [
        f"{name}: {value}"
        for name, value in RULES.findall(sheet.read_text())
        if set(re.findall(r"[0-9.]+(?:rem|px)", value)) - SPACES
    ]
    assert stray == []
    assert "max-width: 80rem" not in sheet.read_text(), "--width is the one width of content"
