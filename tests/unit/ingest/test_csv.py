"""CSV bodies: quoting, order of columns, ragged and blank lines, and line numbers.

A body with a ragged line takes another path through the parser than a body without. The path must
not change the results of the other lines, so most tests here run on both paths.
"""

import csv
import io

import pytest

from openengagement.errors import BodyTooLarge, MalformedBody
from support.cases import cases

HEADER = "tweet_id,type,at,count,promoted"
GOOD = "5,favorites,2026-01-01T00:30:00Z,2,true"
ZERO_ID = "0,favorites,2026-01-01T00:30:00Z,2,true"
RAGGED = "6,favorites,2026-01-01T00:30:00Z,2,true,and,more"
ROW = (5, "favorites", 490_896, 2, True)


@pytest.fixture(params=[False, True], ids=["whole", "next to a ragged line"])
def parse_csv_body(request, read):
    """Parse valid rows and reasons of rejected lines, with and without a ragged line at the end."""

    def parse(body):
        if not request.param:
            parsed = read(body, "csv")
            refused = parsed.rejected.select("line", "reason").rows()
        else:
            newline = "\r\n" if "\r\n" in body else "\n"
            joint = "" if body.endswith("\n") else newline
            ragged = RAGGED + "," * body.partition("\n")[0].count(",")
            parsed = read(body + joint + ragged + newline, "csv")
            *refused, last = parsed.rejected.select("line", "reason").rows()
            assert last == ((body + joint).count("\n") + 1, "malformed")
        return parsed.rows.rows(), refused

    return parse


@cases("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@cases("end", [True, False], ids=["newline", "no last newline"])
def test_the_header_is_line_1(parse_csv_body, newline, end):
    body = newline.join([HEADER, GOOD, ZERO_ID, GOOD]) + (newline if end else "")

    assert parse_csv_body(body) == ([(2, *ROW), (4, *ROW)], [(3, "invalid_id")])


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_blank_lines_are_skipped(parse_csv_body, newline):
    """As in NDJSON, they count in line numbers but are neither accepted nor rejected."""
    body = newline.join([HEADER, "", GOOD, "", "", ZERO_ID, ""])

    assert parse_csv_body(body) == ([(3, *ROW)], [(6, "invalid_id")])


@pytest.mark.parametrize("before", ["\n", "\r\n", "\n\n", " \n"])
def test_the_first_line_names_the_columns(read, before):
    """A blank line before the header counts as a line, or the body is refused."""
    try:
        parsed = read(f"{before}{HEADER}\n{ZERO_ID}\n", "csv")
    except MalformedBody:
        return
    lines = parsed.rejected.select("line", "reason").rows()
    assert lines == [(2 + before.count("\n"), "invalid_id")]


@pytest.mark.parametrize("at", [1, 2])
def test_a_lone_carriage_return_does_not_end_a_line(parse_csv_body, at):
    cells = GOOD.split(",")
    cells[at] = cells[at][:2] + "\r" + cells[at][2:]
    reason = {1: "unknown_type", 2: "invalid_time"}[at]

    assert parse_csv_body(f"{HEADER}\n{','.join(cells)}\n{GOOD}\n") == ([(3, *ROW)], [(2, reason)])


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_all_cells_may_be_quoted(parse_csv_body, newline):
    lines = [HEADER, GOOD]
    body = newline.join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines)

    assert parse_csv_body(body) == ([(2, *ROW)], [])


@pytest.mark.parametrize("cell", ["", '""'], ids=["bare", "quoted"])
def test_optional_cells_may_be_empty(parse_csv_body, cell):
    body = f"{HEADER}\n5,favorites,2026-01-01T00:30:00Z,{cell},{cell}\n{GOOD}\n"

    assert parse_csv_body(body) == ([(2, 5, "favorites", 490_896, 1, False), (3, *ROW)], [])


@cases("cell", ["", '""'], ids=["bare", "quoted"])
@cases("at", [0, 1, 2])
def test_required_cells_may_not_be_empty(parse_csv_body, cell, at):
    cells = GOOD.split(",")
    cells[at] = cell

    assert parse_csv_body(f"{HEADER}\n{','.join(cells)}\n") == ([], [(2, "missing_field")])


def test_short_lines_lack_their_last_cells(parse_csv_body):
    body = f"{HEADER}\n5,favorites,2026-01-01T00:30:00Z\n5,favorites\n{GOOD}\n"

    assert parse_csv_body(body) == (
        [(2, 5, "favorites", 490_896, 1, False), (4, *ROW)],
        [(3, "missing_field")],
    )


def test_columns_may_have_any_order_among_unknown_ones(parse_csv_body):
    body = (
        "promoted,note,at,count,who,type,tweet_id\n"
        "true,,2026-01-01T00:30:00Z,2,me,favorites,5\n"
        'true,"a, b ""c""",2026-01-01T00:30:00Z,2,,favorites,0\n'
    )

    assert parse_csv_body(body) == ([(2, *ROW)], [(3, "invalid_id")])


def test_missing_optional_columns(parse_csv_body):
    assert parse_csv_body("at,type,tweet_id\n2026-01-01T00:30:00Z,favorites,5\n") == (
        [(2, 5, "favorites", 490_896, 1, False)],
        [],
    )


def test_unknown_columns_may_have_any_name(parse_csv_body):
    """Also a name that the parser uses internally."""
    body = f"line,reason,detail,{HEADER}\n9,x,y,{GOOD}\n9,x,y,{ZERO_ID}\n"

    assert parse_csv_body(body) == ([(2, *ROW)], [(3, "invalid_id")])


def test_a_cell_may_span_lines(parse_csv_body):
    """A record has the number of one of its lines, and later records keep their own."""
    body = f'note,{HEADER}\n"one\ntwo\nthree",{GOOD}\nx,{ZERO_ID}\nx,{GOOD}\n'

    rows, refused = parse_csv_body(body)

    assert refused == [(5, "invalid_id")]
    assert [row[0] for row in rows][1:] == [6]
    assert rows[0][0] in {2, 3, 4}


def test_a_byte_order_mark_is_skipped(parse_csv_body):
    """Spreadsheets write one."""
    assert parse_csv_body(f"\ufeff{HEADER}\n{GOOD}\n") == ([(2, *ROW)], [])


def test_a_column_that_is_named_twice_refuses_the_body(parse_csv_body):
    """Neither of the two can be preferred, whatever the other lines are."""
    with pytest.raises(MalformedBody, match="twice"):
        parse_csv_body(f"tweet_id,{HEADER}\n9,{GOOD}\n")


def test_a_long_cell_rejects_one_line(parse_csv_body):
    body = f"{HEADER}\n{'x' * 200_000},favorites,2026-01-01T00:30:00Z,,\n{GOOD}\n"

    assert parse_csv_body(body) == ([(3, *ROW)], [(2, "invalid_id")])


def test_bytes_that_are_not_utf_8_reject_one_line(read):
    body = f"{HEADER}\n{GOOD}\n5,fav?,2026-01-01T00:30:00Z,,\n{GOOD}\n".encode()

    parsed = read(body.replace(b"?", b"\xff"), "csv")

    assert parsed.rows.get_column("line").to_list() == [2, 4]
    assert parsed.rejected.get_column("line").to_list() == [3]


def test_nul_rejects_one_line(parse_csv_body):
    body = f"{HEADER}\n5,fav\0,2026-01-01T00:30:00Z,,\n{GOOD}\n"

    assert parse_csv_body(body) == ([(3, *ROW)], [(2, "unknown_type")])


def test_spaces_are_part_of_a_cell(parse_csv_body):
    assert parse_csv_body(f"{HEADER}\n 5,favorites,2026-01-01T00:30:00Z,,\n") == (
        [],
        [(2, "invalid_id")],
    )


def test_texts_that_other_programs_treat_as_null(parse_csv_body):
    cells = ["NA", "null", "NaN", "None", "-", "0"]
    body = "\n".join([HEADER, *(f"{cell},favorites,2026-01-01T00:30:00Z,," for cell in cells)])

    assert parse_csv_body(body)[1] == [(index + 2, "invalid_id") for index in range(len(cells))]


def test_the_detail_of_a_ragged_line_counts_its_values(read):
    line, reason, detail = read(f"{HEADER}\n{RAGGED}\n{GOOD}\n", "csv").rejected.row(0)

    assert (line, reason) == (2, "malformed")
    assert "7 values, but the header names 5 columns" in detail


@pytest.mark.parametrize("body", ["", " ", "\n", "\r\n\r\n"])
def test_a_body_without_a_header_is_refused(read, body):
    with pytest.raises(MalformedBody, match="must name the columns"):
        read(body, "csv")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_body_with_only_a_header(read, end):
    parsed = read(HEADER + end, "csv")

    assert (parsed.rows.height, parsed.rejected.height) == (0, 0)


@pytest.mark.parametrize("count", [10, 11])
def test_the_header_does_not_count_in_the_limit_of_lines(read, count):
    body = "\n".join([HEADER, *[GOOD] * count]) + "\n"
    if count <= 10:
        assert read(body, "csv", lines_max=10).rows.height == count
    else:
        with pytest.raises(BodyTooLarge, match="10 lines"):
            read(body, "csv", lines_max=10)


def test_lines_of_large_bodies_keep_their_numbers(read):
    """The library parses large bodies in several threads."""
    lines = [f"{index % 5},favorites,2026-01-01T00:30:00Z,," for index in range(120_000)]

    parsed = read("\n".join([HEADER, *lines]), "csv")

    assert parsed.rejected.get_column("line").to_list() == list(range(2, 120_002, 5))
    assert parsed.rows.height == 96_000


@cases("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@cases("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_output_of_the_csv_module_is_accepted(parse_csv_body, quoting, newline):
    text = io.StringIO()
    rows = csv.writer(text, quoting=quoting, lineterminator=newline)
    rows.writerow([*HEADER.split(","), "note"])
    rows.writerow([5, "favorites", "2026-01-01T00:30:00Z", 2, "true", 'say "x", y'])
    rows.writerow([5, "favorites", "2026-01-01T00:30:00Z", 2, "true", None])

    assert parse_csv_body(text.getvalue()) == ([(2, *ROW), (3, *ROW)], [])
