"""Parameters of queries, forms and URLs, and the rule for a repeated one."""

import pytest

from openengagement.http.forms import (
    MalformedParameters,
    given_once,
    parse_form_body,
    read_url_query,
)

FORM = "application/x-www-form-urlencoded"


def test_a_parameter_that_is_given_twice_counts_as_not_given():
    pairs = [("a", "1"), ("b", "2"), ("a", "1")]
    assert given_once(pairs) == {"b": "2"}


def test_parameters_that_are_given_once_are_all_kept():
    assert given_once([("a", "1"), ("b", "")]) == {"a": "1", "b": ""}
    assert given_once([]) == {}


def test_the_query_of_a_url_follows_the_same_rule():
    assert read_url_query("/a?x=1&y=2&x=3&z=") == {"y": "2", "z": ""}


def test_the_query_of_a_url_keeps_broken_escapes():
    assert read_url_query("/a?x=%zz") == {"x": "%zz"}


@pytest.mark.parametrize("kind", [FORM, f"{FORM}; charset=utf-8", FORM.upper()])
def test_a_form_is_recognised_by_its_content_type(kind):
    assert parse_form_body(kind, b"a=1+2&a=%26") == [("a", "1 2"), ("a", "&")]


@pytest.mark.parametrize("kind", ["", "multipart/form-data", "application/json"])
def test_a_body_of_another_content_type_has_no_parameters(kind):
    assert parse_form_body(kind, b"a=1") == []


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%zz", b"a=%ff"])
def test_a_form_that_cannot_be_read_is_refused(body):
    with pytest.raises(MalformedParameters):
        parse_form_body(FORM, body)
