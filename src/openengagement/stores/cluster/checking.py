"""Verify the counters of a cluster, as `openengagement check` does."""

from typing import Final

from openengagement.damage import Damage, Inspection
from openengagement.stores.cluster.clickhouse import Refused, Unreachable
from openengagement.stores.cluster.layout import ClickhouseUrl, opened
from openengagement.stores.cluster.replicas import Replica

# ClickHouse has a checksum of every file of a table.
_CHECK: Final = "CHECK TABLE cells"
_TIMEOUT_S: Final = 3600.0
_REMEDY: Final = "Let it fetch the table from another replica, or restore it from a backup"
_JUMPS: Final = "SELECT from_s, to_s FROM clock_jumps ORDER BY jump_id DESC LIMIT 100"


def inspect_cluster(postgresql: str, url: ClickhouseUrl, *, inspection: Inspection) -> None:
    """Verify the table of every replica. Servers may be running.

    Raises:
        UnusableCluster: `cluster init` was not run, or for other servers.
        StoreUnavailable: PostgreSQL does not answer.
    """
    with opened(postgresql, url) as (db, replicas):
        jumps = db.execute(_JUMPS).fetchall()
        inspection.clock_jumps += [("idempotency keys", *each) for each in reversed(jumps)]
        for replica in replicas:
            _inspect(replica, inspection)


def _inspect(replica: Replica, inspection: Inspection) -> None:
    inspection.files += 1
    name = f"the table of {replica.server.name}"
    try:
        answer = replica.server.run(_CHECK, timeout_s=_TIMEOUT_S)
    except Unreachable as error:
        inspection.damaged.append(Damage(name, str(error), "Start the server, and check again"))
    except Refused as error:
        remedy = "Versions before 19 cannot verify a table. Check the disk"
        inspection.outdated.append(Damage(name, str(error), remedy))
    else:
        if answer.strip() != b"1":
            inspection.damaged.append(Damage(name, "its checksums are wrong", _REMEDY))
