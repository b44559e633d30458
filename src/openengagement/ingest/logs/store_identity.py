"""The identity of a store, by which its consumers recognise each other.

Consumers of other stores may read the same log, and must not share it with them.
"""

import uuid
from typing import Final

from openengagement.engagement.counters import no_counters
from openengagement.errors import StoreUnavailable
from openengagement.stores.contract import Batch, CounterStore, Position

SOURCE: Final = "consumers"


def read_identity(store: CounterStore) -> str:
    """Return the identity of a store. The first call makes it: it is kept as a position.

    Raises:
        StoreUnavailable: try again later.
    """
    if store.read_position(SOURCE) is None:
        made = Position(SOURCE, uuid.uuid4().hex.encode(), None)
        # If another consumer was first, this is refused.
        store.apply_batches([Batch(no_counters(), None, b"", b"", position=made)])
    identity = store.read_position(SOURCE)
    if identity is None:
        raise StoreUnavailable(store.name, "its identity was not stored")
    return identity.decode()
