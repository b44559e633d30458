"""Find out whether a cluster answers, without a query for what is known anyway."""

import time
from collections.abc import Sequence
from typing import Final

from openengagement.errors import StoreUnavailable
from openengagement.stores.cluster.clickhouse import Answer, Refused, Unreachable
from openengagement.stores.cluster.counting import NAME
from openengagement.stores.cluster.replicas import InSync, Replica

# A server that has answered so lately is not asked. So a process that reads asks nothing more, and
# an idle one asks one server of each shard now and then.
_FRESH_S: Final = 5.0
_TIMEOUT_S: Final = 0.5
_PING: Final = "SELECT 1 FROM cells LIMIT 1 FORMAT TSV"


def answers(in_sync: InSync) -> bool:
    """Whether a replica in sync answers of each shard.

    All shards are asked at the same time. Others of a shard are asked if the first one fails.

    Raises:
        StoreUnavailable: no shard answers.
    """
    asked = [shard for shard in in_sync if not any(map(_is_fresh, shard))]
    sent = [_send(shard) for shard in asked]
    failed = [shard for shard, answer in zip(asked, sent, strict=True) if not _has_answered(answer)]
    away = [
        shard
        for shard in failed
        if not any(_has_answered(_send([replica])) for replica in shard[1:])
    ]
    if len(away) == len(in_sync):
        names = ", ".join(replica.server.name for shard in away for replica in shard)
        raise StoreUnavailable(NAME, f"no server answers: {names or 'none is in sync'}")
    return not away


def _is_fresh(replica: Replica) -> bool:
    return time.monotonic() - replica.server.answered_s < _FRESH_S


def _send(replicas: Sequence[Replica]) -> Answer | None:
    """Ask the first one. None if it cannot be connected to."""
    try:
        return replicas[0].server.send(_PING, timeout_s=_TIMEOUT_S) if replicas else None
    except Unreachable:
        return None


def _has_answered(answer: Answer | None) -> bool:
    try:
        return answer is not None and answer.read() is not None
    except (Unreachable, Refused):
        return False
