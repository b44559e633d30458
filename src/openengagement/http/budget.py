"""Bound the memory that requests and answers hold at the same time."""

from openengagement.errors import Unavailable


class ByteBudget:
    """Bounds the bytes that are in flight in this worker. `what` names them in the refusal."""

    def __init__(self, maximum: int, what: str) -> None:
        self._maximum = maximum
        self._what = what
        self._taken = 0

    def take(self, size: int) -> None:
        """Add to the bytes in flight. If there are none, any size fits.

        Otherwise an answer that is larger than the whole budget could never be sent.

        Raises:
            Unavailable: there would be too many; none were added.
        """
        if self._taken and self._taken + size > self._maximum:
            raise Unavailable(f"too many {self._what} are in flight; try again in a moment")
        self._taken += size

    def give_back(self, size: int) -> None:
        """Subtract bytes that `take` added."""
        self._taken -= size
