"""CSV files: text that a spreadsheet would run as a formula stays text."""

import csv
import io

from openengagement.portal.csv_files import csv_response, write_csv
from support.cases import cases

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"  # as ASCII has them, and full-width


def read(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_table_becomes_quoted_csv():
    text = write_csv(["name", "count"], [["a", 1], ['b "c", d\ne', None], ["ü", -3]])
    assert text.startswith('"name","count"\r\n"a","1"\r\n')
    assert read(text) == [["name", "count"], ["a", "1"], ['b "c", d\ne', ""], ["ü", "-3"]]


@cases("start", [*SIGNS, "\t", "\r", "\n"])
def test_a_formula_gets_an_apostrophe(start):
    cell = f'{start}HYPERLINK("http://evil.example")'
    assert read(write_csv([cell], [[cell]])) == [[f"'{cell}"], [f"'{cell}"]]


@cases("sign", SIGNS)
@cases("separator", [";", "; ", "\t", ";;", "\n", ";\u3000"])
def test_a_formula_inside_a_cell_gets_an_apostrophe_where_spreadsheets_may_split(separator, sign):
    cell = f"a{separator}{sign}1+1"
    assert read(write_csv(["x"], [[cell]])) == [["x"], [f"a{separator}'{sign}1+1"]]
    both = f"{sign}1{separator}{sign}2"
    assert read(write_csv(["x"], [[both]])) == [["x"], [f"'{sign}1{separator}'{sign}2"]]


@cases("text", ["a;b", "a = b", "1-2; 3", "x@y", "e-mail, @home"])
def test_other_text_is_unchanged(text):
    assert read(write_csv(["x"], [[text]])) == [["x"], [text]]


def test_negative_numbers_are_unchanged():
    assert read(write_csv(["x"], [[-1.5]])) == [["x"], ["-1.5"]]


def test_the_answer_is_a_csv_file_with_a_name():
    response = csv_response("usage.csv", ["a", "\u00fc"], rows=[])
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    assert response.body == b'\xef\xbb\xbf"a","\xc3\xbc"\r\n', "Excel needs the mark"


def test_a_file_name_may_have_letters_of_every_script():
    header = csv_response("ü-tweets.csv", [], rows=[]).headers["content-disposition"]
    assert header == "attachment; filename=\"_-tweets.csv\"; filename*=UTF-8''%C3%BC-tweets.csv"
