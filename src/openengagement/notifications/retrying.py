"""When a failed delivery is attempted again, and when it is given up."""

import random
from typing import Final

# The pauses after each attempt, about two days and a half together.
PAUSES_S: Final = (5, 30, 120, 600, 1800, 3600, 7200, 18_000, 36_000, 50_400, 86_400)
ATTEMPTS_MAX: Final = len(PAUSES_S) + 1
_JITTER: Final = 0.2


def decide_pause(attempts: int) -> int | None:
    """Return the seconds until the next attempt; None after the last one.

    It is random by 20 %, so that the deliveries of a receiver that was down do not come at once.
    """
    if attempts >= ATTEMPTS_MAX:
        return None
    pause_s = PAUSES_S[attempts - 1]
    return round(pause_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311
