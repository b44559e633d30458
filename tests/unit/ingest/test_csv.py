"""CSV bodies: quoting, order of columns, ragged and blank lines, and what a line is numbered.

A body in which one line is ragged takes another way through the parser than one without. Which way
a body takes must not change what becomes of its other lines, so most tests here go both.
"""

import csv
import io

import pytest

from openengagement.errors import BodyTooLarge, MalformedBody

HEADER = "tweet_id,type,at,count,promoted"
GOOD = "5,favorites,2026-01-01T00:30:00Z,2,true"
ZERO_ID = "0,favorites,2026-01-01T00:30:00Z,2,true"
RAGGED = "6,favorites,2026-01-01T00:30:00Z,2,true,and,more"
ROW = (5, "favorites", 490_896, 2, True)


@pytest.fixture(params=[False, True], ids=["whole", "beside a ragged line"])
def judge_csv(request, read):
    """Good lines, and refused ones with their reason; with the ragged line last it is left out."""

    def judged(body):
        if not request.param:
            intake = read(body, "csv")
            refused = intake.rejected.select("line", "reason").rows()
        else:
            newline = "\r\n" if "\r\n" in body else "\n"
            joint = "" if body.endswith("\n") else newline
            ragged = RAGGED + "," * body.partition("\n")[0].count(",")
            intake = read(body + joint + ragged + newline, "csv")
            *refused, last = intake.rejected.select("line", "reason").rows()
            assert last == ((body + joint).count("\n") + 1, "malformed")
        return intake.rows.rows(), refused

    return judged


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("end", [True, False], ids=["newline", "no last newline"])
def test_lines_count_from_the_header(judge_csv, newline, end):
    body = newline.join([HEADER, GOOD, ZERO_ID, GOOD]) + (newline if end else "")

    assert judge_csv(body) == ([(2, *ROW), (4, *ROW)], [(3, "invalid_id")])


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_blank_lines_are_no_rows(judge_csv, newline):
    """As in NDJSON: they count as lines and are neither accepted nor refused."""
    body = newline.join([HEADER, "", GOOD, "", "", ZERO_ID, ""])

    assert judge_csv(body) == ([(3, *ROW)], [(6, "invalid_id")])


@pytest.mark.parametrize("before", ["\n", "\r\n", "\n\n", " \n"])
def test_the_first_line_names_the_columns(read, before):
    """A blank line before them counts as a line, or the body is refused; nothing is misnumbered."""
    try:
        intake = read(f"{before}{HEADER}\n{ZERO_ID}\n", "csv")
    except MalformedBody:
        return
    lines = intake.rejected.select("line", "reason").rows()
    assert lines == [(2 + before.count("\n"), "invalid_id")]


@pytest.mark.parametrize("at", [1, 2])
def test_a_lone_carriage_return_is_no_end_of_a_line(judge_csv, at):
    cells = GOOD.split(",")
    cells[at] = cells[at][:2] + "\r" + cells[at][2:]
    reason = {1: "unknown_type", 2: "invalid_time"}[at]

    assert judge_csv(f"{HEADER}\n{','.join(cells)}\n{GOOD}\n") == ([(3, *ROW)], [(2, reason)])


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_everything_quoted(judge_csv, newline):
    lines = [HEADER, GOOD]
    body = newline.join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines)

    assert judge_csv(body) == ([(2, *ROW)], [])


@pytest.mark.parametrize("cell", ["", '""'], ids=["bare", "quoted"])
def test_optional_cells_may_be_empty(judge_csv, cell):
    body = f"{HEADER}\n5,favorites,2026-01-01T00:30:00Z,{cell},{cell}\n{GOOD}\n"

    assert judge_csv(body) == ([(2, 5, "favorites", 490_896, 1, False), (3, *ROW)], [])


@pytest.mark.parametrize("cell", ["", '""'], ids=["bare", "quoted"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_other_cells_may_not(judge_csv, cell, at):
    cells = GOOD.split(",")
    cells[at] = cell

    assert judge_csv(f"{HEADER}\n{','.join(cells)}\n") == ([], [(2, "missing_field")])


def test_short_lines_lack_their_last_cells(judge_csv):
    body = f"{HEADER}\n5,favorites,2026-01-01T00:30:00Z\n5,favorites\n{GOOD}\n"

    assert judge_csv(body) == (
        [(2, 5, "favorites", 490_896, 1, False), (4, *ROW)],
        [(3, "missing_field")],
    )


def test_columns_come_in_any_order_among_others(judge_csv):
    body = (
        "promoted,note,at,count,who,type,tweet_id\n"
        "true,,2026-01-01T00:30:00Z,2,me,favorites,5\n"
        'true,"a, b ""c""",2026-01-01T00:30:00Z,2,,favorites,0\n'
    )

    assert judge_csv(body) == ([(2, *ROW)], [(3, "invalid_id")])


def test_columns_that_are_not_there(judge_csv):
    assert judge_csv("at,type,tweet_id\n2026-01-01T00:30:00Z,favorites,5\n") == (
        [(2, 5, "favorites", 490_896, 1, False)],
        [],
    )
    assert judge_csv("tweet_id,type\n5,favorites\n") == ([], [(2, "missing_field")])


def test_a_column_may_have_any_other_name(judge_csv):
    """Even that of something we keep beside the columns."""
    body = f"line,reason,detail,{HEADER}\n9,x,y,{GOOD}\n9,x,y,{ZERO_ID}\n"

    assert judge_csv(body) == ([(2, *ROW)], [(3, "invalid_id")])


def test_a_cell_may_span_lines(judge_csv):
    """A record is numbered by a line it stands on, and those after it by theirs."""
    body = f'note,{HEADER}\n"one\ntwo\nthree",{GOOD}\nx,{ZERO_ID}\nx,{GOOD}\n'

    rows, refused = judge_csv(body)

    assert refused == [(5, "invalid_id")]
    assert [row[0] for row in rows][1:] == [6]
    assert rows[0][0] in {2, 3, 4}


def test_a_byte_order_mark_is_no_part_of_the_first_name(judge_csv):
    """Spreadsheets write one."""
    assert judge_csv(f"\ufeff{HEADER}\n{GOOD}\n") == ([(2, *ROW)], [])


def test_a_column_named_twice_is_refused_either_way(judge_csv):
    """Which of the two would hold? The answer must not depend on another line."""
    with pytest.raises(MalformedBody, match="twice"):
        judge_csv(f"tweet_id,{HEADER}\n9,{GOOD}\n")


def test_a_long_cell_is_one_bad_line(judge_csv):
    body = f"{HEADER}\n{'x' * 200_000},favorites,2026-01-01T00:30:00Z,,\n{GOOD}\n"

    assert judge_csv(body) == ([(3, *ROW)], [(2, "invalid_id")])


def test_bytes_that_are_no_text_are_one_bad_line(read):
    body = f"{HEADER}\n{GOOD}\n5,fav?,2026-01-01T00:30:00Z,,\n{GOOD}\n".encode()

    intake = read(body.replace(b"?", b"\xff"), "csv")

    assert intake.rows.get_column("line").to_list() == [2, 4]
    assert intake.rejected.get_column("line").to_list() == [3]


def test_nul_is_one_bad_line(judge_csv):
    body = f"{HEADER}\n5,fav\0,2026-01-01T00:30:00Z,,\n{GOOD}\n"

    assert judge_csv(body) == ([(3, *ROW)], [(2, "unknown_type")])


def test_spaces_are_part_of_a_cell(judge_csv):
    assert judge_csv(f"{HEADER}\n 5,favorites,2026-01-01T00:30:00Z,,\n") == (
        [],
        [(2, "invalid_id")],
    )


def test_texts_that_other_programs_take_for_nothing(judge_csv):
    cells = ["NA", "null", "NaN", "None", "-", "0"]
    body = "\n".join([HEADER, *(f"{cell},favorites,2026-01-01T00:30:00Z,," for cell in cells)])

    assert judge_csv(body)[1] == [(at + 2, "invalid_id") for at in range(len(cells))]


def test_a_ragged_line_says_how(read):
    line, reason, detail = read(f"{HEADER}\n{RAGGED}\n{GOOD}\n", "csv").rejected.row(0)

    assert (line, reason) == (2, "malformed")
    assert "7 values, but the header names 5 columns" in detail


@pytest.mark.parametrize("body", ["", " ", "\n", "\r\n\r\n"])
def test_no_header_at_all(read, body):
    with pytest.raises(MalformedBody, match="must name the columns"):
        read(body, "csv")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_header_alone(read, end):
    intake = read(HEADER + end, "csv")

    assert (intake.rows.height, intake.rejected.height) == (0, 0)


@pytest.mark.parametrize("count", [10, 11])
def test_lines_are_capped_without_the_header(read, count):
    body = "\n".join([HEADER, *[GOOD] * count]) + "\n"
    if count <= 10:
        assert read(body, "csv", lines_max=10).rows.height == count
    else:
        with pytest.raises(BodyTooLarge, match="10 lines"):
            read(body, "csv", lines_max=10)


def test_large_bodies_keep_their_numbers(read):
    """Parsed in several threads, and still every line has its own number."""
    lines = [f"{at % 5},favorites,2026-01-01T00:30:00Z,," for at in range(120_000)]

    intake = read("\n".join([HEADER, *lines]), "csv")

    assert intake.rejected.get_column("line").to_list() == list(range(2, 120_002, 5))
    assert intake.rows.height == 96_000


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_what_the_csv_module_writes(judge_csv, quoting, newline):
    text = io.StringIO()
    rows = csv.writer(text, quoting=quoting, lineterminator=newline)
    rows.writerow([*HEADER.split(","), "note"])
    rows.writerow([5, "favorites", "2026-01-01T00:30:00Z", 2, "true", 'say "x", y'])
    rows.writerow([5, "favorites", "2026-01-01T00:30:00Z", 2, "true", None])

    assert judge_csv(text.getvalue()) == ([(2, *ROW), (3, *ROW)], [])
