"""What a consumer has counted, for its operator."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openengagement.ingest.logs.messages import MessageBatch
from openengagement.metrics import table

_RATE_OVER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Reached:
    """Figures since the start. `rate` is in events per second, over the last seconds.

    `lag` is the number of messages that are in the log and were not read, None if that is unknown.
    `repeats` counts batches of the HTTP intake that were in the log more than once. `age_s` is how
    long ago the log received the newest message that was counted.
    """

    messages: int
    events: int
    dead_letters: int
    conflicts: int
    repeats: int
    rate: int
    lag: int | None
    age_s: float | None


class ConsumerProgress:
    """Adds up what is counted. `now_s` is the wall clock."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._messages = self._events = self._letters = 0
        self._conflicts = self._repeats = 0
        self._lag: int | None = None
        self._newest_s: float | None = None
        self._marks = deque([(time.monotonic(), 0)])

    def note_counted(self, batch: MessageBatch, *, repeated: bool) -> None:
        """Add a batch that is durable. A `repeated` one was counted before, by its key."""
        self._messages += len(batch.messages)
        self._repeats += repeated
        self._events += 0 if repeated else batch.events
        self._letters += len(batch.letters)
        table.CONSUMED_MESSAGES.add(len(batch.messages))
        table.CONSUMED_EVENTS.add(0 if repeated else batch.events)
        table.CONSUMED_BATCHES.add(1, "repeat" if repeated else "counted")
        table.DEAD_LETTERS.add(len(batch.letters))
        sent_s = batch.messages[-1].sent_s
        if sent_s is not None:
            self._newest_s = max(sent_s, self._newest_s or sent_s)
            table.NEWEST.set(self._newest_s)

    def note_conflict(self) -> None:
        """Add a batch that another consumer has counted."""
        self._conflicts += 1
        table.CONSUMED_BATCHES.add(1, "conflict")

    def note_restart(self) -> None:
        """Add a source that is read again."""
        table.RESTARTS.add(1)

    def note_lag(self, lag: int | None) -> None:
        """Set the number of messages that wait in the log."""
        self._lag = lag
        if lag is not None:
            table.LAG.set(lag)

    def reached(self) -> Reached:
        """Return the figures of this moment."""
        now = time.monotonic()
        if now - self._marks[-1][0] > _RATE_OVER_S / 10:
            self._marks.append((now, self._events))
        while len(self._marks) > 1 and now - self._marks[1][0] > _RATE_OVER_S:
            self._marks.popleft()
        since_s, before = self._marks[0]
        return Reached(
            messages=self._messages,
            events=self._events,
            dead_letters=self._letters,
            conflicts=self._conflicts,
            repeats=self._repeats,
            rate=int((self._events - before) / max(now - since_s, 0.001)),
            lag=self._lag,
            age_s=None if self._newest_s is None else max(0.0, self._now_s() - self._newest_s),
        )
