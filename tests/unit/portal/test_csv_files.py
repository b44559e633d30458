"""A table as a file: what a spreadsheet would run as a formula stays text."""

import csv
import io

import pytest

from openengagement.portal.csv_files import csv_response, write_csv

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"  # as ASCII has them, and full-width


def read(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_table():
    text = write_csv(["name", "count"], [["a", 1], ['b "c", d\ne', None], ["ü", -3]])
    assert text.startswith('"name","count"\r\n"a","1"\r\n')
    assert read(text) == [["name", "count"], ["a", "1"], ['b "c", d\ne', ""], ["ü", "-3"]]


@pytest.mark.parametrize("start", [*SIGNS, "\t", "\r", "\n"])
def test_no_formulas(start):
    cell = f'{start}HYPERLINK("http://evil.example")'
    assert read(write_csv([cell], [[cell]])) == [[f"'{cell}"], [f"'{cell}"]]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("separator", [";", "; ", "\t", ";;", "\n", ";\u3000"])
def test_no_formulas_where_a_spreadsheet_may_split(separator, sign):
    cell = f"a{separator}{sign}1+1"
    assert read(write_csv(["x"], [[cell]])) == [["x"], [f"a{separator}'{sign}1+1"]]
    both = f"{sign}1{separator}{sign}2"
    assert read(write_csv(["x"], [[both]])) == [["x"], [f"'{sign}1{separator}'{sign}2"]]


@pytest.mark.parametrize("text", ["a;b", "a = b", "1-2; 3", "x@y", "e-mail, @home"])
def test_other_text_stays_as_it_is(text):
    assert read(write_csv(["x"], [[text]])) == [["x"], [text]]


def test_a_minus_of_a_number_is_kept():
    assert read(write_csv(["x"], [[-1.5]])) == [["x"], ["-1.5"]]


def test_the_file():
    response = csv_response("usage.csv", ["a", "b"], rows=[])
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert response.body == b'"a","b"\r\n'
