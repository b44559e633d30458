"""The engines under test. A new one needs a class here and a name in BACKENDS."""

from pathlib import Path

from openengagement.stores.embedded.store import EmbeddedStore

KEEP_DAYS = 90


class ChosenClock:
    """A clock that returns the time it was set to."""

    def __init__(self, at_s=1_767_225_600.0):
        self.at_s = at_s

    def now_s(self):
        return self.at_s


class Embedded:
    """The embedded store, in a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def open(self, clock=None):
        return EmbeddedStore(
            self.folder / "counters.sqlite3",
            clock=clock or ChosenClock(),
            idempotency_keep_days=KEEP_DAYS,
        )


BACKENDS = {"embedded": Embedded}
