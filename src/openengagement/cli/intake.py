"""Check the mappings and the event log of `serve` before the server starts."""

from contextlib import closing

import typer

from openengagement.cli.common import fail
from openengagement.files import UnusableFile
from openengagement.ingest.logs.contract import LogUnavailable, LogUnusable
from openengagement.ingest.logs.log_url import parse_url
from openengagement.ingest.logs.opening import open_publisher
from openengagement.ingest.mapping.map_file import read_mapping
from openengagement.intake_settings import LOG
from openengagement.settings import ENV_PREFIX, Settings


def check_intake(settings: Settings) -> None:
    """End the command if batches could never be mapped or published. A log may answer later."""
    try:
        for file in settings.mapping_files.values():
            read_mapping(file)
    except UnusableFile as error:
        fail(f"{ENV_PREFIX}MAPPINGS: {error}")
    if settings.intake != LOG:
        return
    try:
        publisher = open_publisher(
            parse_url(settings.intake_log), bytes_max=settings.intake_message_max_bytes
        )
        with closing(publisher):
            publisher.ping()
    except (LogUnusable, UnusableFile) as error:
        fail(f"{ENV_PREFIX}INTAKE_LOG: {error}")
    except LogUnavailable as error:
        typer.echo(f"warning: {error}; until the event log answers, batches get 503", err=True)
