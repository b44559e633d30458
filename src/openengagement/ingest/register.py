"""Registering Tweets and accounts: judged rows into the store and the registry."""

import polars as pl

from openengagement.ingest.intake import Intake
from openengagement.ingest.rows import DropReason
from openengagement.registry.registry import Registry
from openengagement.stores.contract import CounterStore


def register_accounts(intake: Intake, registry: Registry, *, now_s: int) -> Intake:
    """Upsert accounts; rows whose screen name is another account's come back refused as well."""
    rows = intake.rows.select("id", "screen_name", "protected").rows()
    taken = registry.apply_accounts(rows, now_s=now_s)
    if not taken:
        return intake
    refused = intake.rows[list(taken)].select(
        "line",
        reason=pl.lit(DropReason.NAME_TAKEN.value),
        detail=pl.format(
            "screen_name {} belongs to account {}",
            "screen_name",
            pl.Series([str(owner) for owner in taken.values()]),
        ),
    )
    good = intake.rows.filter(~pl.col("line").is_in(refused.get_column("line").implode()))
    return Intake(good, pl.concat([intake.rejected, refused]).sort("line"))


def register_tweets(intake: Intake, store: CounterStore, registry: Registry) -> int:
    """Upsert Tweets; returns how many of their authors are not registered yet."""
    store.apply_tweets(intake.rows)
    authors = intake.rows.get_column("author_id").unique().to_list()
    return len(authors) - len(registry.read_protected(authors))
