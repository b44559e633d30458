"""`load events --map` and `--dry-run`."""

import shutil
from pathlib import Path

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
    parquet = tmp_path / "e.parquet"
    parquet.write_bytes(b"PAR1")
    columnar = run("load", "events", parquet, "--map", EXAMPLES / "activitypub.toml")

    assert (tweets.code, missing.code, columnar.code) == (1, 1, 1)
    assert "--map is for events" in tweets.err
    assert "No such file" in missing.err
    assert "cannot be mapped" in columnar.err
