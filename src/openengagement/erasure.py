"""Erase an account: from the registry, and its Tweets and their counters from the stores.

1. One transaction takes the account out of the registry and records the erasure. From then on, no
   request is answered with its Tweets, because their author is unknown.
2. The counters of its Tweets are erased, then the Tweets: as long as they are listed, a repeat
   finds their counters.
3. The files are scrubbed of what deleted rows leave, and the record of the erasure is removed.

Each step may be repeated. If the process dies, another call for the same account completes the
erasure. One call at a time works on the stores. It also completes what waits, because erasing
counters rewrites whole files, for one account or for many.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from openengagement.errors import Unavailable
from openengagement.registry.audit import Actor
from openengagement.registry.registry import Registry
from openengagement.stores.contract import Erases, Forgets, Scrubs, Stores


@dataclass(frozen=True, slots=True)
class Erased:
    """How much was erased with an account."""

    tweets: int
    apps: int
    access_tokens: int
    sessions: int


class Eraser:
    """Erases accounts."""

    def __init__(self, registry: Registry, stores: Stores, *, now_s: Callable[[], float]) -> None:
        self._registry = registry
        self._stores = stores
        self._now_s = now_s

    def begin(self, account_id: int, *, actor: Actor) -> Erased | None:
        """Erase an account from the registry. Its Tweets are out of reach, and `complete` follows.

        Returns None if there is nothing to erase: no account, no Tweets, no unfinished erasure.

        Raises:
            Unavailable: the stores cannot erase.
            StoreUnavailable: try again later.
        """
        _, tweets = self._capable()
        found = len(tweets.read_authored([account_id]).tweet_ids)
        removed = self._registry.removal.begin_erasure(
            account_id, actor=actor, now_s=int(self._now_s()), has_tweets=found > 0
        )
        if removed is None:
            return None
        return Erased(found, removed.apps, removed.access_tokens, removed.sessions)

    def complete(self, account_ids: Collection[int]) -> None:
        """Complete erasures that have begun, and return when nothing of them is left.

        Raises:
            Unavailable, StoreUnavailable: as for `begin`. Repeat the call.
            StoreDamaged: counters share a file with damaged ones; restore a backup first.
        """
        counters, tweets = self._capable()
        removal = self._registry.removal
        with counters.erasing():
            unfinished = removal.list_unfinished()
            if not set(account_ids) & set(unfinished):
                return  # another call has completed them while this one waited
            # Servers that share a registry may have other stores. Leave their erasures to them.
            mine = [
                each
                for each in unfinished
                if each in account_ids or tweets.read_authored([each]).tweet_ids
            ]
            authored = tweets.read_authored(mine)
            if authored.tweet_ids:
                counters.erase(authored.counter_ids)
                tweets.forget(authored)
            for engine in self._stores.engines:
                if isinstance(engine, Scrubs):
                    engine.scrub()
            self._registry.database.scrub()
            for account_id in mine:
                removal.finish_erasure(account_id)
            self._registry.database.scrub()  # of the ids that this table held

    def _capable(self) -> tuple[Erases, Forgets]:
        counters, tweets = self._stores.counters, self._stores.tweets
        if not isinstance(counters, Erases) or not isinstance(tweets, Forgets):
            raise Unavailable(f"the {counters.name} store cannot erase")
        return counters, tweets
