"""The platform's own look: colours with enough contrast, logos and links."""

import pytest

from openengagement.look import (
    DARK,
    LIGHT,
    LOGO_BYTES_MAX,
    check_link,
    contrast,
    derive_colours,
    mix,
    read_logo,
    write_theme,
)
from openengagement.settings import Settings, SettingsError
from support.cases import cases

PNG = b"\x89PNG\r\n\x1a\n0000"
SVG = b'<?xml version="1.0"?>\n<!-- ours -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'


def test_contrast():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert mix("#000000", "#ffffff", share=0.5) == "#808080"


@pytest.mark.parametrize("colour", ["#0b5f73", "#7a1fa2", "#8a0000"])
def test_every_colour_of_a_theme_has_enough_contrast(colour):
    colours = derive_colours(colour, LIGHT)
    for front, back, least in (
        ("accent", LIGHT.paper, 4.5),
        ("accent-strong", LIGHT.paper, 4.5),
        ("accent", colours["wash"], 4.5),
        ("bar", LIGHT.paper, 3),
    ):
        assert contrast(colours[front], back) >= least
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
    assert contrast(colours["on-accent"], colours["accent-strong"]) >= 4.5


@pytest.mark.parametrize("colour", ["#6cc7dc", "#ffb4d0"])
def test_the_dark_theme(colour):
    colours = derive_colours(colour, DARK)
    assert contrast(colours["on-accent"], colours["accent-strong"]) >= 4.5


@cases(
    ("colour", "surfaces", "words"),
    [
        (
            "#ffcc00",
            LIGHT,
            "is 1.51 to 1, and the light theme needs 4.5 to 1; choose a darker colour",
        ),
        ("#333333", DARK, "the dark theme needs 4.5 to 1; choose a lighter colour"),
        ("#777777", LIGHT, "is 4.47 to 1"),
        ("red", LIGHT, "write a colour such as #0b5f73, not 'red'"),
        ("#abc", LIGHT, "write a colour"),
        ("#0b5f73;}", LIGHT, "write a colour"),
    ],
)
def test_colours_that_are_refused(colour, surfaces, words):
    with pytest.raises(ValueError, match=words):
        derive_colours(colour, surfaces)


def test_a_theme_keeps_the_products_colours_where_none_is_set():
    assert write_theme("", "") == ""
    assert write_theme("#0b5f73", "").startswith("@media (prefers-color-scheme: light) { :root {")
    both = write_theme("#0b5f73", "#6cc7dc")
    assert both.startswith(":root {")
    assert "@media (prefers-color-scheme: dark)" in both
    assert "--accent: #6cc7dc;" in both


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (SVG, "image/svg+xml"),
        (b"<svg>", "image/svg+xml"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_logos(tmp_path, content, kind):
    path = tmp_path / "logo"
    path.write_bytes(content)
    logo = read_logo(str(path))
    assert (logo.content, logo.kind) == (content, kind)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><svg></svg></html>", "is not an SVG, PNG, JPEG or WebP picture"),
        (b"", "is not an SVG"),
        (PNG + bytes(LOGO_BYTES_MAX), "more than 102,400"),
    ],
)
def test_logos_that_are_refused(tmp_path, content, words):
    path = tmp_path / "logo"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_logo(str(path))


def test_a_missing_logo_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_logo(str(tmp_path / "none.svg"))


@pytest.mark.parametrize("url", ["", "https://example.com/terms?a=b#c", "http://intranet/terms"])
def test_links(url):
    assert check_link(url) == url


def test_only_support_may_be_an_address_for_mail():
    assert check_link("mailto:help@example.com", mail=True)
    with pytest.raises(ValueError, match="write an https or http URL, not"):
        check_link("mailto:help@example.com")


@cases(
    "url",
    ["javascript:alert(1)", "//example.com", "https://", "https://a b", 'https://a/"', "terms"],
)
def test_links_that_are_refused(url):
    with pytest.raises(ValueError, match="write an https or http URL"):
        check_link(url, mail=True)


@cases(
    ("setting", "value"),
    [
        ("accent_color", "#ffff00"),
        ("accent_color_dark", "#000000"),
        ("logo", "/no/such/file.svg"),
        ("languages", "en, fr"),
        ("languages", ","),
        ("nouns", "/no/such/file.toml"),
        ("terms_url", "terms"),
        ("privacy_url", "ftp://example.com"),
        ("support_url", "help"),
    ],
)
def test_a_setting_that_does_not_fit_stops_the_start(setting, value):
    with pytest.raises(SettingsError, match=f"^OPENENGAGEMENT_{setting.upper()}: "):
        Settings(**{setting: value})


def test_the_default_language_is_the_first_one():
    assert Settings().page_languages == ("en", "de")
    assert Settings(languages="de, en, de").page_languages == ("de", "en")
    assert Settings(languages="de").page_languages == ("de",)
