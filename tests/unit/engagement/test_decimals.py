"""Whole numbers from untrusted text."""

from openengagement.engagement.types import ID_MAX, parse_decimal
from support.cases import cases


@cases(("text", "number"), [("0", 0), ("7", 7), ("007", 7), ("100", 100), (str(ID_MAX), None)])
def test_digits_up_to_the_maximum_are_a_number(text, number):
    assert parse_decimal(text, maximum=100) == number


@cases("text", ["", "-1", "+1", " 1", "1.0", "1_0", "٣", "²", "0x1", "101"])
def test_other_text_is_no_number(text):
    assert parse_decimal(text, maximum=100) is None


def test_a_text_with_more_digits_than_the_maximum_is_no_number():
    assert parse_decimal("0001", maximum=100) is None
    assert parse_decimal("9" * 1_000_000, maximum=ID_MAX) is None
    assert parse_decimal(str(ID_MAX), maximum=ID_MAX) == ID_MAX
