"""Every table of a store moves, or is named here with the reason why it does not."""

import re
from contextlib import closing

from contract.backends import Embedded
from openengagement.stores.cluster.tables import POSTGRESQL

MOVED = {"tweets", "videos", "contents", "batches", "positions"}
KEPT = {
    "segments": "they move as counters",
    "unlisted_files": "it describes files of the folder",
    "tweet_changes": "caches of processes on the folder read it",
    "ledger_time": "the target has a time of its own",
    "ledger_times": "the target has a time of its own",
    "clock_jumps": "it describes the clock of the source",
    "sqlite_sequence": "SQLite's own",
    "store_layout": "it describes the servers",
    "replicas": "it describes the servers",
    "query_times": "it describes the servers",
    "flights": "they have ended before the check",
    "deletions": "the target notes deletions when it registers Tweets",
    "large_tweets": "the target notes them when it counts",
}


def test_every_table_of_a_folder_moves_or_is_named(tmp_path):
    with closing(Embedded(tmp_path).open()) as store, store._database.snapshot() as db:
        rows = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert {name for (name,) in rows} - KEPT.keys() == MOVED


def test_every_table_of_a_cluster_moves_or_is_named():
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", POSTGRESQL))
    assert tables - KEPT.keys() == MOVED
