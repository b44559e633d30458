"""Registering accounts and Tweets: judged rows into the registry and the store."""

from collections.abc import Callable

import msgspec
import polars as pl

from openengagement.ingest.intake import Intake, Outcome
from openengagement.ingest.rows import ACCOUNTS, DropReason
from openengagement.ingest.upload import BodyReader, Upload
from openengagement.registry.registry import Registry
from openengagement.settings import Settings
from openengagement.stores.contract import TweetStore
from openengagement.tuning import lower_priority


class Registrar:
    """Upserts accounts and Tweets; what a row leaves unsaid (null) stays as it is known."""

    def __init__(self, registry: Registry, tweets: TweetStore) -> None:
        self._registry = registry
        self._tweets = tweets

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
        self._tweets.apply_tweets(intake.rows)
        authors = intake.rows.get_column("author_id").unique().to_list()
        return len(authors) - len(self._registry.read_protected(authors))


class Registering:
    """Takes batches of accounts and of Tweets, from any thread; returns when a batch is durable."""

    def __init__(
        self, registrar: Registrar, *, settings: Settings, now_s: Callable[[], float]
    ) -> None:
        self._registrar = registrar
        self._now_s = now_s
        self._reader = BodyReader(settings, now_s)

    def take(self, upload: Upload) -> Outcome:
        """Register what a batch holds, in a thread that does nothing else.

        Raises:
            RequestError: the batch as a whole cannot be taken; nothing of it is kept.
            BatchRefused: it is atomic and has bad lines.
        """
        lower_priority()
        with self._reader.turn():
            _, intake = self._reader.read(upload)
        if upload.kind is ACCOUNTS:
            intake = self._registrar.register_accounts(
                intake, now_s=self._now_s(), atomic=upload.atomic
            )
            self._reader.refuse_partial(upload, intake)
            return self._reader.describe(intake)
        unknown = self._registrar.register_tweets(intake)
        return msgspec.structs.replace(self._reader.describe(intake), unknown_authors=unknown)
