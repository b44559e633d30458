"""Register accounts in the registry, and Tweets in the Tweet store."""

from collections.abc import Callable
from dataclasses import replace

import polars as pl

from openengagement.ingest.batch import ParsedBatch
from openengagement.ingest.rows import ACCOUNTS, DropReason, Kind
from openengagement.registry.registry import Registry
from openengagement.stores.contract import TweetStore


class Registrar:
    """Inserts or updates accounts and Tweets. A null in a row keeps the known value."""

    def __init__(
        self, registry: Registry, tweets: TweetStore, *, now_s: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._tweets = tweets
        self._now_s = now_s

    def register(self, parsed: ParsedBatch, *, kind: Kind, atomic: bool = False) -> ParsedBatch:
        """Register the valid rows of a batch of accounts or Tweets; return when they are durable.

        Accounts whose screen name belongs to another account move to `rejected`. If `atomic` and
        any row is rejected, nothing is registered.
        """
        if atomic and parsed.rejected.height:
            return parsed
        if kind is ACCOUNTS:
            return self._register_accounts(parsed, atomic=atomic)
        self._tweets.apply_tweets(parsed.rows)
        authors = parsed.rows.get_column("author_id").unique().to_list()
        unknown_authors = len(authors) - len(self._registry.accounts.read_protected(authors))
        return replace(parsed, unknown_authors=unknown_authors)

    def _register_accounts(self, parsed: ParsedBatch, *, atomic: bool) -> ParsedBatch:
        rows = parsed.rows.select("id", "screen_name", "protected").rows()
        taken = self._registry.accounts.apply_accounts(
            rows, now_s=int(self._now_s()), atomic=atomic
        )
        mails = (
            parsed.rows.select("id", "mail").with_row_index().filter(pl.col("mail").is_not_null())
        )
        given = {row[1]: row[2] for row in mails.rows() if row[0] not in taken}
        if given and not (atomic and taken):
            self._registry.accounts.set_mails(given)
        if not taken:
            return parsed
        owners = pl.Series("owner", [str(owner) for owner in taken.values()])
        refused = parsed.rows[list(taken)].select(
            "line",
            reason=pl.lit(DropReason.NAME_TAKEN.value),
            detail=pl.format("screen_name {} belongs to account {}", "screen_name", owners),
        )
        valid = parsed.rows.filter(~pl.col("line").is_in(refused.get_column("line").implode()))
        return replace(
            parsed, rows=valid, rejected=pl.concat([parsed.rejected, refused]).sort("line")
        )
