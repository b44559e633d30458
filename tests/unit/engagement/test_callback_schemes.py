"""Which schemes a setting allows for callback URLs."""

import pytest

from openengagement.engagement.callback_schemes import parse_callback_schemes
from support.cases import cases


@cases(
    ("setting", "allowed", "refused"),
    [
        ("https", {"https"}, {"http", "httpsx", "com.example.app", "tides"}),
        (" HTTPS ,,Tides, ", {"https", "tides"}, {"http", "tides2", "com.example.app"}),
        (
            "twitterkit-*",
            {"twitterkit-", "twitterkit-abc"},
            {"twitterkit", "https", "xtwitterkit-"},
        ),
        ("jav*, vbs*, dat*", {"java", "datum"}, {"javascript", "vbscript", "vbs", "data"}),
        ("reverse-domain", {"aa.b", "com.x"}, {"x.y", "https", "reverse-domain"}),
        ("chrome-extension", {"chrome-extension"}, {"moz-extension"}),
    ],
)
def test_allowed_schemes(setting, allowed, refused):
    schemes = parse_callback_schemes(setting)

    assert {each for each in allowed | refused if schemes.allow(each)} == allowed


@cases(
    ("setting", "words"),
    [
        ("", "at least one scheme"),
        (" , ", "at least one scheme"),
        ("*", "is not a scheme"),
        ("*.*", "is not a scheme"),
        ("j*", "is not a scheme"),
        ("ht*ps", "is not a scheme"),
        ("https://", "is not a scheme"),
        ("https:", "is not a scheme"),
        ("https http", "is not a scheme"),
        ("https;http", "is not a scheme"),
        ("1a", "is not a scheme"),
        ("\u0455cheme", "is not a scheme"),
        ("https, javascript", "runs or opens javascript itself"),
        ("DATA", "runs or opens data itself"),
        ("file", "runs or opens file itself"),
    ],
)
def test_invalid_settings(setting, words):
    with pytest.raises(ValueError, match=words):
        parse_callback_schemes(setting)


def test_a_developer_reads_what_is_allowed():
    assert parse_callback_schemes("https, tides, twitterkit-*, reverse-domain").describe("a.b") == (
        "https, tides, twitterkit-*, a.b"
    )
