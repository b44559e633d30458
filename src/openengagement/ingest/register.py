"""Registering accounts and Tweets: judged rows into the registry and the store."""

import polars as pl

from openengagement.ingest.intake import Intake
from openengagement.ingest.rows import DropReason
from openengagement.registry.registry import Registry
from openengagement.stores.contract import CounterStore


class Registrar:
    """Upserts accounts and Tweets; what a row leaves unsaid (null) stays as it is known."""

    def __init__(self, registry: Registry, store: CounterStore) -> None:
        self._registry = registry
        self._store = store

    def register_accounts(self, intake: Intake, *, now_s: float, atomic: bool = False) -> Intake:
        """Upsert accounts; rows whose screen name is another account's come back refused.

        With `atomic` nothing is registered when one is.
        """
        rows = intake.rows.select("id", "screen_name", "protected").rows()
        taken = self._registry.apply_accounts(rows, now_s=int(now_s), atomic=atomic)
        if not taken:
            return intake
        owners = pl.Series("owner", [str(owner) for owner in taken.values()])
        refused = intake.rows[list(taken)].select(
            "line",
            reason=pl.lit(DropReason.NAME_TAKEN.value),
            detail=pl.format("screen_name {} belongs to account {}", "screen_name", owners),
        )
        good = intake.rows.filter(~pl.col("line").is_in(refused.get_column("line").implode()))
        return Intake(good, pl.concat([intake.rejected, refused]).sort("line"))

    def register_tweets(self, intake: Intake) -> int:
        """Upsert Tweets; returns how many of their authors are not registered yet."""
        self._store.apply_tweets(intake.rows)
        authors = intake.rows.get_column("author_id").unique().to_list()
        return len(authors) - len(self._registry.read_protected(authors))
