"""Open the stores. This is the only module that imports an engine for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from openengagement.clock import Clock
from openengagement.damage import Inspection, OnDamage, ignore_damage
from openengagement.extras import import_postgresql
from openengagement.files import PUT_BACK, UnusableFile
from openengagement.settings import ENV_PREFIX, Settings
from openengagement.sqlite_files import is_new
from openengagement.stores.contract import Stores
from openengagement.stores.embedded.checking import inspect_counters
from openengagement.stores.embedded.store import EmbeddedStore, holds_counters

COUNTERS_FILE: Final = "counters.sqlite3"
_CLUSTER: Final = "openengagement.stores.cluster.opening"


def open_stores(
    data: Path,
    settings: Settings,
    *,
    clock: Clock,
    create: bool = True,
    on_damage: OnDamage = ignore_damage,
) -> Stores:
    """Open the stores of a cluster, or those of a data folder.

    The files in the folder are upgraded, or created if `create` is true. `on_damage` is called when
    a merge in the background meets damage.

    Raises:
        UnusableFile: the files are not of one state, or the cluster was not set up.
        OSError: the folder cannot be used, or another version of the server made it.
        StoreUnavailable: try again later.
    """
    if settings.store:
        if holds_counters(data / COUNTERS_FILE):
            raise UnusableFile(
                f"{data} holds counters, but {ENV_PREFIX}STORE names a cluster. Use another folder"
            )
        return open_cluster(settings, clock=clock)
    path = data / COUNTERS_FILE
    if not create and is_new(path):
        raise UnusableFile(f"{path} is missing or empty, although it was in use. {PUT_BACK}")
    store = EmbeddedStore(
        path,
        clock=clock,
        idempotency_keep_days=settings.idempotency_keep_days,
        totals_cached_max=settings.totals_cached_max,
        on_damage=on_damage,
    )
    return Stores(store, store)


def open_cluster(settings: Settings, *, clock: Clock) -> Stores:
    """Open the stores of the cluster that the settings name.

    Raises:
        UnusableFile: the cluster was not set up, or for other servers.
        StoreUnavailable: try again later.
    """
    cluster = import_postgresql(_CLUSTER).open_cluster(
        settings.registry,
        settings.store,
        clock=clock,
        idempotency_keep_days=settings.idempotency_keep_days,
    )
    return Stores(cluster, cluster)


def init_stores(settings: Settings) -> int:
    """Create the tables of a cluster on all its servers. Return the number of shards.

    Raises:
        UnusableFile: the cluster is not as its URL says.
        StoreUnavailable: a server does not answer, or refuses the user.
    """
    shards: int = import_postgresql(_CLUSTER).init_cluster(settings.registry, settings.store)
    return shards


def read_status(settings: Settings) -> Mapping[str, Any]:
    """Ask every server of a cluster for its state, `stores.cluster.status.ClusterStatus`.

    Raises:
        UnusableFile: the cluster is not as its URL says, or was not set up.
        StoreUnavailable: PostgreSQL does not answer.
    """
    status = import_postgresql(_CLUSTER).read_cluster(settings.registry, settings.store)
    found: Mapping[str, Any] = msgspec.to_builtins(status)
    return found


def check_stores(data: Path, settings: Settings, *, inspection: Inspection) -> None:
    """Verify the stores. Other processes may use them.

    Raises:
        UnusableFile: the cluster is not as its URL says, or was not set up.
        StoreUnavailable: PostgreSQL does not answer.
    """
    if settings.store:
        cluster = import_postgresql(_CLUSTER)
        cluster.inspect_cluster(settings.registry, settings.store, inspection=inspection)
        return
    inspect_counters(data / COUNTERS_FILE, inspection)


def hold_data(data: Path) -> bool:
    """Whether the stores of a data folder hold anything.

    Raises:
        UnusableFile: the files are not of one state.
    """
    return holds_counters(data / COUNTERS_FILE)
