"""Options that make a sandbox the same at every start."""

from typing import Annotated

import typer

from openengagement.cli.common import CLOCK, fail
from openengagement.engagement.types import parse_time

Seed = Annotated[
    int | None,
    typer.Option(min=0, help="The same credentials and counts in every sandbox of this seed."),
]
Now = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="For metrics, time stands still here, such as 2026-11-22."),
]
Empty = Annotated[
    bool, typer.Option("--empty", help="No Tweets and no events: a test sends its own.")
]


def parse_now(text: str | None) -> int | None:
    """Parse `--now` into Unix seconds. It may not be in the future: no event could be sent then."""
    if text is None:
        return None
    try:
        now_s = int(parse_time(text))
    except ValueError as error:
        fail(f"--now: {error}")
    if now_s > CLOCK.now_s():
        fail("--now: lies in the future")
    return now_s
