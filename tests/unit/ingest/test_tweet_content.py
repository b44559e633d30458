"""The text, the link and the picture of a Tweet: what is accepted, and what is rejected."""

import json

import polars as pl
import pytest

from support.cases import cases

FORMS = ["ndjson", "json", "csv", "parquet", "arrow"]
ROW = {"id": "5", "author_id": "7"}
CONTENT = ("text", "url", "thumbnail_url")


@pytest.fixture
def give(read):
    """Parse a Tweet with this content. Return its content, or the reason and the detail."""

    def outcome(**content):
        parsed = read(json.dumps({**ROW, **content}), kind="tweets")
        if parsed.rejected.height:
            return parsed.rejected.row(0)[1:]
        return parsed.rows.select(CONTENT).row(0)

    return outcome


@cases(
    "text",
    [
        "Low water at six.",
        "",
        " ",
        "x" * 1000,
        "\U0001f468\u200d\U0001f680" * 333,
        "line\nbreak\ttab\r\n",
        "<b>&amp;</b> \"quoted\" 'text'",
        "=1+1",
        "\u202eback to front",
        "\u0301\u0301",
        "null",
        "5.0",
    ],
)
def test_texts_are_kept_as_they_are(give, text):
    assert give(text=text) == (text, None, None)


@cases(
    ("text", "fault"),
    [
        ("x" * 1001, "text has 1001 characters; send the first 1000"),
        ("\u00e9" * 5000, "text has 5000 characters; send the first 1000"),
        ("a\0b", "text has a control character"),
        ("a\x1b[31mb", "text has a control character"),
        ("a\x85b", "text has a control character"),
        (True, "text true is not text; send the text as text"),
        (1.5, "text 1.5 is not text; send the text as text"),
        (["a"], 'text ["a"] is not text; send the text as text'),
    ],
    ids=ascii,
)
def test_other_texts_are_rejected(give, text, fault):
    assert give(text=text) == ("invalid_text", fault)


GOOD_URLS = [
    "https://example.com/posts/5",
    "HTTPS://EXAMPLE.COM",
    "https://example.com",
    "https://example.com:8443/a?b=c&d=%20#e",
    "https://example.com?q",
    "https://example.com#top",
    "https://[2001:db8::1]:8080/x",
    "https://b\u00fccher.example/\u00fc\u4f60",
    "https://example.com/a'b(c)[d]{e}|f^g",
    "https://example.com/@someone/5",
    "https://example.com/" + "x" * 2028,
]
BAD_URLS = [
    "javascript:alert(1)",
    " https://example.com",
    "https://example.com ",
    "https://exa mple.com",
    "//example.com/5",
    "/posts/5",
    "example.com/5",
    "https:/example.com",
    "https://",
    "https:///5",
    "data:text/html,x",
    "ftp://example.com/5",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://example.com\\@evil.example/",
    'https://example.com/"onload=x',
    "https://example.com/<script>",
    "https://example.com/\n5",
    "https://example.com/\u202e5",
    "https://example.com/\u200b5",
    "https://example.com:99999999/",
    "https://example.com:x/",
    "https://example.com/" + "x" * 2029,
    5,
    True,
    ["https://example.com"],
]


@cases("url", [*GOOD_URLS, ""])
@cases("field", ["url", "thumbnail_url"])
def test_urls_are_kept_as_they_are(give, field, url):
    assert give(**{field: url})[CONTENT.index(field)] == url


@cases("url", BAD_URLS, ids=ascii)
@cases("field", ["url", "thumbnail_url"])
def test_other_urls_are_rejected(give, field, url):
    reason, detail = give(**{field: url})
    assert reason == "invalid_url"
    assert detail.startswith(f"{field} ")
    assert len(detail) < 200


def test_a_page_may_be_http_and_a_picture_may_not(give):
    """A page over HTTPS loads no picture over HTTP."""
    assert give(url="http://example.com/5") == (None, "http://example.com/5", None)
    reason, detail = give(thumbnail_url="http://example.com/5.jpg")
    assert reason == "invalid_url"
    assert "is not an HTTPS URL of at most 2048 characters" in detail


@cases("form", FORMS)
def test_every_format_has_contents(read, write, form):
    content = {"text": 'Fog, "rain",\nsun', "url": GOOD_URLS[0], "thumbnail_url": GOOD_URLS[3]}
    rows = [{**ROW, **content}, {"id": "6", "author_id": "7", "text": "Rain."}]
    rows += [{"id": "8", "author_id": "7", "url": "javascript:x"}]

    parsed = read(write(rows, form), form, kind="tweets")

    assert parsed.rows.select(CONTENT).rows() == [(*content.values(),), ("Rain.", None, None)]
    assert parsed.rejected.get_column("reason").to_list() == ["invalid_url"]


def test_a_large_batch_keeps_its_rows_apart(read):
    """Rows are parsed in parts, and a field may be missing from a whole part."""
    rows = [
        {**ROW, "id": str(at), **({"text": f"text {at}"} if at > 60_000 else {})}
        for at in range(1, 120_001)
    ]
    body = "".join(json.dumps(row) + "\n" for row in rows)
    texts = read(body, kind="tweets").rows.get_column("text")
    assert texts.null_count() == 60_000
    assert texts[-1] == "text 120000"
    assert texts.dtype == pl.String
