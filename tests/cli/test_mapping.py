"""`load events --map` and `--dry-run`."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "mappings"
FIRST = 113555000000000001


def sample(tmp_path, name):
    return shutil.copy(EXAMPLES / "samples" / name, tmp_path)


def test_a_file_of_the_platform_is_loaded(run, tmp_path):
    path = sample(tmp_path, "mastodon_favourites.csv")
    mapped = ("load", "events", path, "--map", EXAMPLES / "mastodon_favourites.toml", "--json")

    assert run("load", "events", path, "--json").code == 1, "these are no events without a mapping"
    assert run(*mapped, "--dry-run").json() == {
        "accepted": 3,
        "rejected": 1,
        "tweets": 2,
        "counts": {"favorites": 3, "engagements": 3},
        "reasons": {"missing_field": 1},
        "examples": ["tweet_id is missing"],
    }
    assert run(*mapped).json() == {"accepted": 3, "rejected": 1}
    assert "counted once" not in run(*mapped[:-1]).out
    letters = Path(f"{path}.rejected.ndjson").read_text()
    assert '"line":5' in letters


def test_a_file_that_was_refused_counts_with_a_mapping(run, tmp_path):
    """The first load recorded its chunk, of which no line was accepted."""
    path = sample(tmp_path, "activitypub.ndjson")
    assert run("load", "events", path, "--json").json()["accepted"] == 0
    mapping = EXAMPLES / "activitypub.toml"
    loaded = run("load", "events", path, "--map", mapping)

    assert "accepted  4" in loaded.out
    assert "loaded before" not in loaded.err
    assert "loaded before" in run("load", "events", path, "--map", mapping).err


def test_a_dry_run_without_a_mapping(run, tmp_path):
    path = tmp_path / "accounts.ndjson"
    path.write_text('{"id":1,"screen_name":"ana"}\n{"id":2}\n')
    shown = run("load", "accounts", path, "--dry-run")

    assert "accepted  1" in shown.out
    assert "Nothing was stored" in shown.err
    assert "missing_field 1" in shown.err
    assert run("account", "list").out == ""


def test_what_cannot_be_mapped(run, tmp_path):
    path = sample(tmp_path, "activitypub.ndjson")
    tweets = run("load", "tweets", path, "--map", EXAMPLES / "activitypub.toml")
    missing = run("load", "events", path, "--map", tmp_path / "none.toml")

    assert (tweets.code, missing.code) == (1, 1)
    assert "--map is for events" in tweets.err
    assert "No such file" in missing.err


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_columns_are_mapped(run, tmp_path, form):
    """Numbers, times and truth values of a column become the texts that a mapping names."""
    times = [datetime(2026, 11, 22, 10, minute, tzinfo=UTC) for minute in range(4)]
    rows = pl.DataFrame(
        {
            "post": pl.Series([FIRST, FIRST, FIRST + 1, None], dtype=pl.Int64),
            "boosted": [True, False, True, True],
            "at": times,
            "other": [[1], [2], [3], [4]],
        }
    )
    path = tmp_path / f"rows.{form}"
    rows.write_parquet(path) if form == "parquet" else rows.write_ipc(path)
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[[event]]\nwhen = { boosted = "true" }\ntweet_id = "post"\nat = "at"\n'
        'type = { value = "retweets" }\n'
        '[[event]]\nwhen = { boosted = "false" }\ntweet_id = "post"\nat = "at"\n'
        'type = { value = "favorites" }\n'
    )
    mapped = ("load", "events", path, "--map", mapping, "--json")

    shown = run(*mapped, "--dry-run").json()
    assert shown["counts"] == {"retweets": 2, "favorites": 1, "engagements": 3}
    assert shown["reasons"] == {"missing_field": 1}
    assert run(*mapped).json() == {"accepted": 3, "rejected": 1}
    assert '"line":4' in Path(f"{path}.rejected.ndjson").read_text()


def test_damaged_columns_are_not_mapped(run, tmp_path):
    path = tmp_path / "e.parquet"
    path.write_bytes(b"PAR1")
    ended = run("load", "events", path, "--map", EXAMPLES / "activitypub.toml")
    assert ended.code == 1
    assert "cannot be decoded" in ended.err
