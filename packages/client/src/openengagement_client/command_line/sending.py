"""`oe send`: send the events of NDJSON files."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from openengagement_client.command_line.printing import printable
from openengagement_client.errors import InvalidQuery
from openengagement_client.platform_client import PlatformClient
from openengagement_client.reports import SendReport

_SHOWN = 10


def send(
    files: Annotated[list[Path], typer.Argument(help="NDJSON files of events")],
    spool: Annotated[
        Path | None, typer.Option(help="keep batches in this folder while the server is away")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="the platform key of this profile")] = None,
) -> None:
    """Send events. Sending the same file again counts nothing twice.

    The URL and the platform key come from the profile, the environment or .env. The status is 1 if
    records were refused.
    """
    with PlatformClient(profile=profile) as platform, platform.sender(spool=spool) as sender:
        for path in files:
            try:
                sender.send_file(path)
            except OSError as error:
                raise InvalidQuery(f"cannot read {path}: {error.strerror}") from None
    _print_report(sender.report)
    if sender.report.rejected:
        raise typer.Exit(1)


def _print_report(report: SendReport) -> None:
    print(f"{report.accepted:,} events counted, {report.rejected:,} refused")
    if report.duplicates:
        print(f"{report.duplicates} of {report.batches} batches had been counted before")
    if report.spooled:
        print(f"{report.spooled} batches wait in the spool: the server does not answer")
    for each in report.rejections[:_SHOWN]:
        print(printable(f"line {each.line}: {each.reason}: {each.detail}"), file=sys.stderr)
