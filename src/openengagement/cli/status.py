"""`openengagement status`: what is in a data folder, and which servers run on it."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from openengagement.cli.common import Json, open_folder, read_settings, show, show_time
from openengagement.data_folder import measure_disk, read_last_backup
from openengagement.ingest.sources.counting_listener import is_hung, is_listening, list_sockets
from openengagement.stores.opening import read_status


def status(context: typer.Context, json: Json = False) -> None:
    """Show what the data folder and its databases hold, and how many servers run on the folder."""
    data: Path = context.obj
    fields: dict[str, Any] = {"version": version("openengagement"), "data": str(data.resolve())}
    with open_folder(context, existing=True) as folder:
        sockets = [address for address in list_sockets(data) if is_listening(address)]
        fields["servers_running"] = len(sockets)
        fields["counting_processes_hung"] = sum(map(is_hung, sockets))
        fields |= folder.count_items()
        unfinished = [str(each) for each in folder.registry.removal.list_unfinished()]
        fields["unfinished_erasures"] = unfinished if json else ", ".join(unfinished) or "none"
        fields["store"] = folder.stores.counters.name
        settings = read_settings()
        if settings.store:
            problems = read_status(settings)["problems"]
            fields["cluster_problems"] = problems if json else "; ".join(problems) or "none"
    disk = measure_disk(data)
    fields["last_backup"] = show_time(read_last_backup(data)) or (None if json else "none")
    fields |= {"bytes": disk.data_bytes, "bytes_free": disk.free_bytes}
    show(fields, as_json=json)
