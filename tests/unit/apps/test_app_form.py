"""The rules for the form of an app. Every refusal names the field to change."""

from dataclasses import replace

import pytest

from openengagement.apps.app_form import UnfitApp, check_app_form
from openengagement.registry.apps import AppForm
from openengagement.settings import Settings
from support.cases import cases

SCHEMES = Settings().allowed_callback_schemes
FORM = AppForm("Tide Tables", 1, ("https://tides.example/return",))


@cases(
    "change",
    [
        {"name": "x"},
        {"name": "x" * 128},
        {"name": "潮汐"},
        {"name": "\U0001f468\u200d\U0001f680"},
        {"name": "\u0645\u06cc\u200c\u062e\u0648"},
        {"description": ""},
        {"description": "x" * 512},
        {"website": "http://tides.example"},
        {"website": "https://tides.example:8443/a?b=c"},
        {"callbacks": ()},
        {"callbacks": [f"https://tides.example/{number}" for number in range(10)]},
        {"callbacks": ["example.tides://signed-in", "http://127.0.0.1:8080/", "http://[::1]/"]},
        {"access_level": "read-write-directmessages"},
    ],
    ids=lambda change: ascii(change)[:40],
)
def test_valid_forms(change):
    check_app_form(replace(FORM, **change), schemes=SCHEMES)


@cases(
    ("field", "value", "words"),
    [
        ("name", "", "1 to 128 visible"),
        ("name", "\u200d\u200c", "1 to 128 visible"),
        ("name", "\u0301", "1 to 128 visible"),
        ("name", "\u115f\u3164", "1 to 128 visible"),
        ("name", " ", "1 to 128 visible"),
        ("name", "\u2800 \u115f", "1 to 128 visible"),
        ("name", "abc\u202edcb", "1 to 128 visible"),
        ("name", "a\u200bb", "1 to 128 visible"),
        ("name", "x" * 129, "1 to 128 visible"),
        ("name", "x\ny", "1 to 128 visible"),
        ("name", "x\ue000", "1 to 128 visible"),
        ("name", "x\u2028y", "1 to 128 visible"),
        ("description", "x" * 513, "at most 512 visible"),
        ("description", "x\u2066y", "at most 512 visible"),
        ("website", "", "begins with https"),
        ("website", "tides://x", "begins with https://"),
        ("website", "myapp://x/", "begins with https://"),
        ("website", "javascript:x", "begins with https"),
        ("website", "https://a b", "must percent-encode"),
        ("callbacks", ["x"], "no scheme"),
        ("callbacks", ["/relative"], "no scheme"),
        ("callbacks", ["javascript:alert(1)"], "scheme javascript is not allowed"),
        ("callbacks", ["https://a.example/#x"], "fragment"),
        ("callbacks", ["https://u:p@a.example/"], "user name"),
        ("callbacks", ["https://a.example/\r\nX: y"], "must percent-encode"),
        ("callbacks", ["https:///x"], "has no host"),
        ("callbacks", ["https://[::1/"], "not a URL"),
        ("callbacks", ["localhost:8000/back"], "no scheme; write http://"),
        ("callbacks", ["tides.example:443"], "no scheme; write http://"),
        ("callbacks", ["https://a.example"] * 2, "twice"),
        ("callbacks", [f"https://a.example/{number}" for number in range(11)], "at most 10"),
        ("callbacks", ["https://a.example/", "data:x"], "'data:x' cannot be used"),
        ("access_level", "", "one of read, read-write"),
        ("access_level", "Read", "one of read, read-write"),
    ],
    ids=lambda each: ascii(each)[:40],
)
def test_an_invalid_form_names_the_field(field, value, words):
    with pytest.raises(UnfitApp, match=words) as refused:
        check_app_form(replace(FORM, **{field: value}), schemes=SCHEMES)
    assert refused.value.field == field


def test_a_long_callback_is_not_repeated_in_full():
    with pytest.raises(UnfitApp) as refused:
        check_app_form(replace(FORM, callbacks=["https://" + "x" * 5000]), schemes=SCHEMES)
    assert len(str(refused.value)) < 250


def test_a_refused_scheme_names_the_allowed_ones():
    with pytest.raises(UnfitApp) as refused:
        check_app_form(replace(FORM, callbacks=["tides://x"]), schemes=SCHEMES)
    assert str(refused.value) == (
        "the callback URL 'tides://x' cannot be used: the scheme tides is not allowed; "
        "allowed are: https, http, reverse domain names such as com.example.app"
    )


def test_a_registered_callback_stays_although_its_scheme_is_no_longer_allowed():
    form = replace(FORM, callbacks=["tides://x", "https://tides.example"])
    check_app_form(form, schemes=SCHEMES, registered=["tides://x"])
    with pytest.raises(UnfitApp, match="scheme tides is not allowed"):
        check_app_form(form, schemes=SCHEMES, registered=["tides://x/y"])
