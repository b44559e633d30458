"""Reading and converting an activity file, with made-up lines and with the real file."""

import csv
import gzip
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from openengagement.sandbox.dataset import ACCOUNTS_SCHEMA, EVENTS_SCHEMA, TWEETS_SCHEMA
from openengagement.sandbox.higgs import higgs_dataset, read_higgs
from support.cases import cases

REPOSITORY = Path(__file__).resolve().parents[3]
REAL_FILE = REPOSITORY.parent / "shared" / "data" / "higgs-activity_time.txt.gz"
HOUR_S = 3600
TYPE_OF = {"RT": "retweets", "RE": "replies", "MT": "other_engagements"}

needs_real_file = pytest.mark.skipif(
    not REAL_FILE.is_file(), reason="higgs-activity_time.txt.gz is not next to the checkout"
)

LINES = "5 9 7300 RT\n6 9 7201 MT\n5 4 7400 RE\n7 9 14500 RT\n"


@pytest.fixture
def write(tmp_path):
    def to_file(data, name="activity.txt"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return to_file


def test_lines_become_rows_in_file_order(write):
    rows = read_higgs(write(LINES))

    assert rows.columns == ["actor", "target", "at", "kind"]
    assert rows.rows() == [
        (5, 9, 7300, "RT"),
        (6, 9, 7201, "MT"),
        (5, 4, 7400, "RE"),
        (7, 9, 14500, "RT"),
    ]


@pytest.mark.parametrize("name", ["activity.txt.gz", "activity.txt"])
def test_gzip_is_recognised_by_its_first_bytes(write, name):
    rows = read_higgs(write(gzip.compress(LINES.encode()), name))

    assert rows.height == 4


@pytest.mark.parametrize(
    "data", [LINES.rstrip("\n"), LINES.replace("\n", "\r\n")], ids=["no-last-newline", "crlf"]
)
def test_line_ends_do_not_matter(write, data):
    assert read_higgs(write(data)).rows()[3] == (7, 9, 14500, "RT")


@cases(
    "bad",
    [
        "",
        "5 9 7300",
        "5 9 7300 RT extra",
        "5  9 7300 RT",
        "5 9 7300 QT",
        "5 9 7300 rt",
        "5 9 7300 ",
        "5 9 soon RT",
        "5 9 7300.5 RT",
        "-5 9 7300 RT",
        "5 0 7300 RT",
        "5 9 -7300 RT",
        "5 9 99999999999999999999 RT",
        '"5" 9 7300 RT',
        "5,9,7300,RT",
        "\0",
        "\u0665 9 7300 RT",
    ],
)
def test_an_invalid_line_is_named_in_the_error(write, bad):
    path = write(f"1 2 3 RT\n1 2 4 MT\n{bad}\n1 2 5 RE\n")

    with pytest.raises(ValueError, match=r"^activity\.txt: line 3: expected "):
        read_higgs(path)


def test_an_invalid_first_or_last_line_is_named_in_the_error(write):
    with pytest.raises(ValueError, match="line 1: "):
        read_higgs(write("actor target time kind\n" + LINES))
    with pytest.raises(ValueError, match="line 5: "):
        read_higgs(write(LINES + "5 9 73"))


def test_a_line_that_is_not_text_is_named_in_the_error(write):
    with pytest.raises(ValueError, match="line 2: "):
        read_higgs(write(b"1 2 3 RT\n\xff\xfe 2 3 RT\n"))


def test_the_error_shows_only_the_start_of_a_long_line(write):
    with pytest.raises(ValueError, match="line 1: ") as error:
        read_higgs(write("9" * 100_000 + "\n"))

    assert len(str(error.value)) < 250


@pytest.mark.parametrize("data", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_is_refused(write, data):
    with pytest.raises(ValueError, match="line 1: the file is empty"):
        read_higgs(write(data))


@pytest.mark.parametrize("cut", [5, 15, -4])
def test_a_damaged_gzip_file_is_refused(write, cut):
    with pytest.raises(ValueError, match=r"damaged gzip file"):
        read_higgs(write(gzip.compress(LINES.encode())[:cut]))


def test_every_target_becomes_an_account_with_one_tweet(write):
    dataset = higgs_dataset(read_higgs(write(LINES)), ends_at_s=None)

    assert dataset.accounts.schema == ACCOUNTS_SCHEMA
    assert dataset.accounts.rows() == [(9, "user_9", False), (4, "user_4", False)]
    assert dataset.tweets.schema == TWEETS_SCHEMA
    assert dataset.tweets.rows() == [(9, 9, 7201, None), (4, 4, 7400, None)]


def test_every_line_becomes_an_event_in_the_same_order(write):
    dataset = higgs_dataset(read_higgs(write(LINES)), ends_at_s=None)

    assert dataset.events.schema == EVENTS_SCHEMA
    assert dataset.events.rows() == [
        (9, "retweets", 7300, 1, False),
        (9, "other_engagements", 7201, 1, False),
        (4, "replies", 7400, 1, False),
        (9, "retweets", 14500, 1, False),
    ]


@cases(
    ("ends_at_s", "shift_hours"),
    [
        (14500, 0),
        (14501, 0),
        (14500 + HOUR_S - 1, 0),
        (14500 + HOUR_S, 1),
        (14499, -1),
        (14500 - HOUR_S, -1),
        (1_790_000_000, (1_790_000_000 - 14500) // HOUR_S),
    ],
)
def test_times_are_shifted_by_whole_hours_and_not_past_the_end(write, ends_at_s, shift_hours):
    rows = read_higgs(write(LINES))
    there, moved = (higgs_dataset(rows, ends_at_s=end) for end in (None, ends_at_s))

    shift_s = shift_hours * HOUR_S
    assert (moved.events["at"] - there.events["at"]).unique().to_list() == [shift_s]
    assert (moved.tweets["created_at"] - there.tweets["created_at"]).unique().to_list() == [shift_s]
    assert moved.events["at"].max() <= ends_at_s < moved.events["at"].max() + HOUR_S


def test_without_rows_the_dataset_is_empty(write):
    dataset = higgs_dataset(read_higgs(write(LINES)).clear(), ends_at_s=1_790_000_000)

    assert dataset.accounts.is_empty()
    assert dataset.tweets.is_empty()
    assert dataset.events.is_empty()


@pytest.fixture(scope="module")
def counted():
    """Counts in plain Python per (target, type, hour), and the first time of every target."""
    hourly, first = Counter(), defaultdict(lambda: 2**63)
    with gzip.open(REAL_FILE, "rt", newline="") as lines:
        for _, target, at, kind in csv.reader(lines, delimiter=" "):
            hourly[int(target), TYPE_OF[kind], int(at) // HOUR_S] += 1
            first[int(target)] = min(first[int(target)], int(at))
    return hourly, dict(first)


@pytest.mark.heavy
@needs_real_file
def test_the_counts_of_the_real_file_equal_those_in_plain_python(counted):
    hourly, first = counted
    ends_at_s = 1_790_001_234
    rows = read_higgs(REAL_FILE)
    dataset = higgs_dataset(rows, ends_at_s=ends_at_s)

    shift_s = dataset.events["at"][0] - rows["at"][0]
    assert shift_s % HOUR_S == 0
    assert 0 <= ends_at_s - dataset.events["at"].max() < HOUR_S
    hour = (pl.col("at") - shift_s) // HOUR_S
    found = dataset.events.group_by("tweet_id", "type", hour).agg(pl.col("count").sum())
    assert {(tweet, kind, at): n for tweet, kind, at, n in found.iter_rows()} == hourly
    tweets = dataset.tweets.with_columns(pl.col("created_at") - shift_s)
    assert dict(tweets.select("id", "created_at").iter_rows()) == first
    assert dataset.tweets["author_id"].to_list() == dataset.tweets["id"].to_list()


@needs_real_file
def test_the_real_file_has_the_size_stated_in_its_readme():
    dataset = higgs_dataset(read_higgs(REAL_FILE), ends_at_s=None)

    assert dataset.events.height == 563_069
    assert dataset.tweets.height == dataset.accounts.height == 59_977
    assert dataset.events.group_by(pl.col("at") // HOUR_S).len()["len"].max() == 45_861
