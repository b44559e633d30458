"""Open the store of a cluster, or create its tables."""

from openengagement.clock import Clock
from openengagement.damage import Inspection
from openengagement.stores.cluster import checking, layout
from openengagement.stores.cluster.status import ClusterStatus, read_status
from openengagement.stores.cluster.store import ClusterStore


def open_cluster(
    postgresql: str, clickhouse: str, *, clock: Clock, idempotency_keep_days: int
) -> ClusterStore:
    """Open the store at these URLs.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: try again later.
    """
    url = layout.parse_url(clickhouse)
    return ClusterStore(postgresql, url, clock=clock, idempotency_keep_days=idempotency_keep_days)


def init_cluster(postgresql: str, clickhouse: str) -> int:
    """Create the tables on all servers, and record the layout. Return the number of shards.

    Raises:
        UnusableCluster: the servers are not those of the cluster.
        StoreUnavailable: a server does not answer.
    """
    return layout.init_cluster(postgresql, layout.parse_url(clickhouse))


def inspect_cluster(postgresql: str, clickhouse: str, *, inspection: Inspection) -> None:
    """Verify the counters on every server.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: PostgreSQL does not answer.
    """
    checking.inspect_cluster(postgresql, layout.parse_url(clickhouse), inspection=inspection)


def read_cluster(postgresql: str, clickhouse: str) -> ClusterStatus:
    """Ask every server of the cluster for its state.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: PostgreSQL does not answer.
    """
    return read_status(postgresql, layout.parse_url(clickhouse))
