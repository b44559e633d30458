"""The engines under test. A new one needs a class here and a name in BACKENDS."""

import json
from pathlib import Path

from openengagement.clock import Uptime
from openengagement.stores.cluster.opening import open_cluster
from openengagement.stores.embedded.store import EmbeddedStore

KEEP_DAYS = 90


class ChosenClock:
    """A clock that returns the time it was set to. `jumped_s` is the part that has not passed."""

    def __init__(self, at_s=1_767_225_600.0):
        self.at_s = self.start_s = at_s
        self.jumped_s = 0
        self.boot = "one"

    def now_s(self):
        return self.at_s

    def uptime(self):
        return Uptime(self.boot, self.at_s - self.start_s - self.jumped_s)

    def jump(self, by_s):
        self.at_s += by_s
        self.jumped_s += by_s

    def reboot(self, *, off_s):
        """Start the machine again, `off_s` later by its clock."""
        self.at_s += off_s
        self.start_s, self.jumped_s, self.boot = self.at_s, 0, f"after {self.boot}"


class Embedded:
    """The embedded store, in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def open(self, clock=None):
        return EmbeddedStore(
            self.folder / "counters.sqlite3",
            clock=clock or ChosenClock(),
            idempotency_keep_days=KEEP_DAYS,
            totals_cached_max=20,  # few, so that the tests fill it
        )


class Cluster:
    """PostgreSQL and ClickHouse, at the URLs in a file of the folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def set_urls(self, postgresql, clickhouse):
        (self.folder / "urls.json").write_text(json.dumps([postgresql, clickhouse]))

    def open(self, clock=None):
        postgresql, clickhouse = json.loads((self.folder / "urls.json").read_text())
        return open_cluster(
            postgresql, clickhouse, clock=clock or ChosenClock(), idempotency_keep_days=KEEP_DAYS
        )


BACKENDS = {"embedded": Embedded, "cluster": Cluster, "replicated": Cluster}
