"""A row of the table of results."""

from collections.abc import Mapping
from dataclasses import dataclass

from measure import Series, Spread

Figures = Mapping[str, Spread | Series]
Results = Mapping[str, Figures]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the name, the figure as text, and the target if there is one."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


def at_least(what: str, spread: Spread, target: float, form: str = ",.0f") -> Row:
    return Row(what, spread.show(form), f"at least {target:,}", spread.median >= target)


def at_most(what: str, spread: Spread, target: float, form: str = ",.0f") -> Row:
    return Row(what, spread.show(form), f"at most {target:,}", spread.median <= target)
