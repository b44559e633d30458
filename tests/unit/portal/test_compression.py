"""Compression for browsers: static files once, long pages with random padding."""

import gzip
from pathlib import Path

from starlette.responses import HTMLResponse

import openengagement
from openengagement.language.negotiation import load_languages
from openengagement.look import Look
from openengagement.portal.rendering import Assets, encode_page

VENDOR = Path(openengagement.__file__).parent / "portal" / "static" / "vendor"


def test_a_page_is_compressed_whole():
    page = encode_page(HTMLResponse("<p>Hello</p>" * 99), gzip=True)
    assert gzip.decompress(page.body) == b"<p>Hello</p>" * 99
    assert page.headers["content-encoding"] == "gzip"
    assert page.headers["content-length"] == str(len(page.body))
    assert page.headers["vary"] == "accept-encoding"


def test_a_page_stays_plain_for_a_browser_without_gzip():
    page = encode_page(HTMLResponse("<p>Hello</p>"), gzip=False)
    assert page.body == b"<p>Hello</p>"
    assert "content-encoding" not in page.headers
    assert page.headers["vary"] == "accept-encoding"


def test_the_compressed_length_of_a_page_varies_at_random():
    lengths = {len(encode_page(HTMLResponse("same"), gzip=True).body) for _ in range(200)}
    assert len(lengths) > 50


def test_every_static_file_exists_compressed_and_plain():
    assets = Assets(Look(), load_languages())
    for name in ("portal.css", "explore.js", "vendor/uPlot.iife.min.js"):
        hashed = assets.url(name).rpartition("/")[2]
        plain, packed = (assets.respond(hashed, gzip=packs) for packs in (False, True))
        assert gzip.decompress(packed.body) == plain.body
        assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
        assert "immutable" in packed.headers["cache-control"]
        assert len(packed.body) < len(plain.body) * 0.6


def test_vendored_files_have_their_licence_and_version():
    licence = (VENDOR / "uPlot.LICENSE.txt").read_text()
    script = (VENDOR / "uPlot.iife.min.js").read_text()
    assert "MIT License" in licence
    assert licence.startswith("uPlot 1.6.32")
    assert "(v1.6.32)" in script[:80]
