"""`oe send` and `oe register`: send NDJSON files of events, accounts and Tweets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from openengagement_client.batches import BatchLimits, read_batches
from openengagement_client.command_line.printing import printable
from openengagement_client.errors import InvalidQuery
from openengagement_client.platform_client import PlatformClient
from openengagement_client.reports import SendReport

_SHOWN = 10
Profile = Annotated[str | None, typer.Option(help="the platform key of this profile")]


class Kind(StrEnum):
    """What `oe register` registers."""

    ACCOUNTS = "accounts"
    TWEETS = "tweets"


def send(
    files: Annotated[list[Path], typer.Argument(help="NDJSON files of events")],
    spool: Annotated[
        Path | None, typer.Option(help="keep batches in this folder while the server is away")
    ] = None,
    profile: Profile = None,
) -> None:
    """Send events. Sending the same file again counts nothing twice.

    The URL and the platform key come from the profile, the environment or .env. The status is 1 if
    records were refused.
    """
    with PlatformClient(profile=profile) as platform, platform.sender(spool=spool) as sender:
        for path in files:
            with _reading(path):
                sender.send_file(path)
    _print_report(sender.report, "events counted")


def register(
    kind: Annotated[Kind, typer.Argument(help="what the files hold")],
    files: Annotated[list[Path], typer.Argument(help="NDJSON files of accounts, or of Tweets")],
    profile: Profile = None,
) -> None:
    """Register accounts or Tweets, or change them.

    The URL and the platform key come from the profile, the environment or .env. The status is 1 if
    records were refused.
    """
    report = SendReport()
    with PlatformClient(profile=profile) as platform:
        for path in files:
            with _reading(path):
                for batch in read_batches(path, BatchLimits()):
                    report.add(platform.send_batch(batch, kind=kind))
    _print_report(report, f"{'accounts' if kind is Kind.ACCOUNTS else 'Tweets'} registered")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidQuery(f"cannot read {path}: {error.strerror}") from None


def _print_report(report: SendReport, done: str) -> None:
    """Print what became of the records. The status is 1 if some were refused."""
    print(f"{report.accepted:,} {done}, {report.rejected:,} refused")
    if report.duplicates:
        print(f"{report.duplicates} of {report.batches} batches had been counted before")
    if report.spooled:
        print(f"{report.spooled} batches wait in the spool: the server does not answer")
    for each in report.rejections[:_SHOWN]:
        print(printable(f"line {each.line}: {each.reason}: {each.detail}"), file=sys.stderr)
    if report.rejected:
        raise typer.Exit(1)
