"""`openengagement doctor`: say in words what is wrong with a setup, and what to do."""

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
import typer
from sqlalchemy.exc import DBAPIError

from openengagement.cli.common import CLOCK, Json
from openengagement.data_folder import (
    KEY_FILE,
    NOT_OURS,
    DataFolder,
    measure_disk,
    open_data_folder,
    read_last_backup,
)
from openengagement.engagement.permissions import Role
from openengagement.engagement.types import DAY_S
from openengagement.errors import StoreUnavailable
from openengagement.files import UnusableFile
from openengagement.ingest.sources.counting_listener import is_hung, is_listening, list_sockets
from openengagement.limits.opening import open_limits
from openengagement.registry.deliveries import DeliveryState
from openengagement.setting_kinds import THIS_MACHINE
from openengagement.settings import (
    ENV_PREFIX,
    REGISTRY_FILE,
    Settings,
    SettingsError,
    load_settings,
)
from openengagement.stores.inventory import Moves
from openengagement.stores.opening import read_status

_ROOM_BYTES: Final = 1 << 30
_FILES_MIN: Final = 4096
_BACKUP_MAX_S: Final = 2 * DAY_S
_MOUNTS: Final = Path("/proc/mounts")
_NETWORK: Final = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "glusterfs")
_FAILURES: Final = (UnusableFile, OSError, StoreUnavailable, DBAPIError)
_COLORS: Final = {"problem": typer.colors.RED, "warning": typer.colors.YELLOW}


class Level(StrEnum):
    """How bad a finding is. Only problems make the command fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about the setup, and what to do about it if it is bad."""

    level: Level
    text: str
    remedy: str = ""


def doctor(context: typer.Context, json: Json = False) -> None:
    """Look for mistakes in settings, data folder, disk and accounts. Servers may be running.

    Exits with 1 if there is a problem. `openengagement check` also verifies the stored data.
    """
    data: Path = context.obj
    findings = list(examine(data))
    healthy = all(finding.level is not Level.PROBLEM for finding in findings)
    if json:
        rows = [asdict(finding) for finding in findings]
        typer.echo(msgspec.json.encode({"healthy": healthy, "findings": rows}).decode())
    else:
        for finding in findings:
            typer.secho(f"{finding.level:8}", fg=_COLORS.get(finding.level), nl=False)
            typer.echo(finding.text)
            if finding.remedy:
                typer.echo(f"{'':8}-> {finding.remedy}")
    if not healthy:
        raise typer.Exit(1)


def examine(data: Path) -> Iterator[Finding]:
    """Yield what there is to say about a data folder and the settings of the environment."""
    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        yield Finding(
            Level.PROBLEM, str(error), "Correct or unset this variable; docs/settings.md lists all."
        )
        return
    yield Finding(Level.OK, "the settings are valid")
    yield from _examine_network(settings)
    yield from _examine_process()
    try:
        yield from _examine_data(data, settings)
    except PermissionError as error:
        yield Finding(
            Level.PROBLEM,
            f"{error.filename or data}: {error.strerror}, as this command runs as {os.geteuid()}",
            "Run commands as the server's user. It must be able to enter all folders of this path.",
        )


def _examine_data(data: Path, settings: Settings) -> Iterator[Finding]:
    if not data.exists():
        yield Finding(
            Level.PROBLEM,
            f"there is no data folder {data.resolve()}",
            "Name the right one with --data or OPENENGAGEMENT_DATA. `serve` and `account add` "
            "create a new one.",
        )
        return
    yield from _examine_folder(data)
    yield from _examine_disk(data)
    yield from _examine_servers(data)
    yield from _examine_content(data, settings)
    if not settings.registry and (data / REGISTRY_FILE).exists():
        yield from _examine_backup(data)


def _examine_network(settings: Settings) -> Iterator[Finding]:
    if settings.allow_plain_http and not settings.trusted_proxies:
        yield Finding(
            Level.WARNING,
            "plain HTTP is accepted from every machine, so credentials can be read on the network",
            f"Let a proxy terminate TLS and name it in {ENV_PREFIX}TRUSTED_PROXIES, or use "
            "--tls-cert and --tls-key.",
        )
    elif not settings.allow_plain_http and not settings.trusted_proxies:
        yield Finding(
            Level.OK,
            "plain HTTP is answered on this machine only; other machines need TLS from --tls-cert, "
            f"or from a proxy that {ENV_PREFIX}TRUSTED_PROXIES names",
        )
    if any(network.prefixlen == 0 for network in settings.proxies):
        yield Finding(
            Level.WARNING,
            "every client is trusted as a proxy, so it can hide its address, and claim TLS",
            f"Name only the addresses of your proxies in {ENV_PREFIX}TRUSTED_PROXIES.",
        )
    if settings.metrics_address and settings.metrics_address[0] not in THIS_MACHINE:
        yield Finding(
            Level.WARNING,
            f"the metrics at {settings.metrics} have no authentication, and other machines may "
            "read them",
            f"Set {ENV_PREFIX}METRICS to 127.0.0.1:9464, or let only Prometheus reach it.",
        )
    if settings.replay_protection == "off":
        yield Finding(
            Level.WARNING,
            "a signed request can be sent again by anybody who saw it",
            f"Unset {ENV_PREFIX}REPLAY_PROTECTION.",
        )


def _examine_process() -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding(
            Level.WARNING,
            "this command runs as root, and its files will belong to root",
            "Run servers and commands as one user of their own.",
        )
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < _FILES_MIN:
        yield Finding(
            Level.WARNING,
            f"a process may open {limit} files only, and each connection is one",
            f"Raise the limit to {_FILES_MIN} or more (ulimit -n, or LimitNOFILE= in systemd).",
        )


def _examine_folder(data: Path) -> Iterator[Finding]:
    if not data.is_dir():
        yield Finding(Level.PROBLEM, f"{data} is not a folder", "Name a folder with --data.")
        return
    status, key = data.stat(), data / KEY_FILE
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        yield Finding(
            Level.PROBLEM,
            f"{data} belongs to user {status.st_uid}, and this command runs as {os.geteuid()}",
            f"Run commands as the server's user, for example with: sudo -u '#{status.st_uid}' ...",
        )
    elif not os.access(data, os.W_OK | os.X_OK):
        yield Finding(Level.PROBLEM, f"{data} cannot be written", "Change its mode to 0700.")
    if (other := _find_other_owner(data, status.st_uid)) is not None:
        yield Finding(
            Level.PROBLEM,
            f"{other} does not belong to the user of the folder, as after a command that ran as "
            "root; the server may be unable to use it",
            f"As root: chown --recursive --reference={data} {data}",
        )
    for path in (data, key):
        if path.exists() and path.stat().st_mode & 0o077:
            mode = "0700" if path.is_dir() else "0600"
            yield Finding(
                Level.WARNING,
                f"other users of this machine may enter or read {path}",
                f"chmod {mode} {path}",
            )


def _find_other_owner(data: Path, owner: int) -> Path | None:
    """Return a file of the folder that belongs to another user. Files may be removed meanwhile."""
    for path in data.rglob("*"):
        with suppress(FileNotFoundError):
            if path.lstat().st_uid != owner and path.relative_to(data).parts[0] not in NOT_OURS:
                return path
    return None


def _examine_disk(data: Path) -> Iterator[Finding]:
    kind = _file_system(data)
    if kind.startswith(_NETWORK):
        yield Finding(
            Level.PROBLEM,
            f"{data} is on a network file system ({kind}), which may lose locks and writes",
            "Move the folder to a local disk. Several machines can share a registry in PostgreSQL.",
        )
    if kind in {"tmpfs", "ramfs"}:
        yield Finding(
            Level.WARNING,
            f"{data} is in memory ({kind}) and is lost when the machine restarts",
            "Move the folder to a disk.",
        )
    disk = measure_disk(data)
    free, used = disk.free_bytes, disk.data_bytes
    level = Level.WARNING if free < max(_ROOM_BYTES, 2 * used) else Level.OK
    remedy = "Compaction, pruning and erasure write files anew: keep twice the folder's size free."
    text = f"the folder has {used / 2**20:,.0f} MiB, and {free / 2**20:,.0f} MiB are free"
    yield Finding(level, text, remedy if level is Level.WARNING else "")


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, empty if the system does not tell."""
    if not _MOUNTS.exists():
        return ""
    folders = {str(each) for each in (path.resolve(), *path.resolve().parents)}
    mounts = (line.split()[1:3] for line in _MOUNTS.read_text().splitlines())
    found = [(len(point), kind) for point, kind in mounts if point in folders]
    return max(found)[1] if found else ""


def _examine_backup(data: Path) -> Iterator[Finding]:
    last_s = read_last_backup(data)
    remedy = (
        "openengagement backup FOLDER makes one. Make one daily: docs/lifecycle.md, under "
        '"Scheduled backups".'
    )
    if last_s is None:
        yield Finding(Level.WARNING, "no backup of this folder was made yet", remedy)
    elif CLOCK.now_s() - last_s > _BACKUP_MAX_S:
        days = (CLOCK.now_s() - last_s) / DAY_S
        yield Finding(Level.WARNING, f"the last backup is {days:.0f} days old", remedy)


def _examine_servers(data: Path) -> Iterator[Finding]:
    running = [address for address in list_sockets(data) if is_listening(address)]
    yield Finding(Level.OK, f"{len(running) or 'no'} server(s) run on this folder")
    if any(map(is_hung, running)):
        yield Finding(
            Level.PROBLEM,
            "the counting process of a server does not answer",
            "Wait: the server replaces it. If that repeats, look for a slow disk in the log.",
        )


def _examine_seal(folder: DataFolder) -> Iterator[Finding]:
    counters = folder.stores.counters
    if isinstance(counters, Moves) and counters.inventory().is_sealed():
        yield Finding(
            Level.PROBLEM,
            "every change is refused, because all data is being moved, or was moved",
            "Complete the move, or use its target: docs/moving.md. `openengagement move --release` "
            "opens this place again.",
        )


def _examine_content(data: Path, settings: Settings) -> Iterator[Finding]:
    if not settings.registry and not (data / REGISTRY_FILE).exists():
        yield Finding(
            Level.PROBLEM,
            f"{data} has no {REGISTRY_FILE}: it is another folder, or a part of it is missing",
            'Name the right one with --data, or see "A folder that is refused" in '
            "docs/operating/data-folder.md.",
        )
        return  # opening it would create the file
    try:
        folder = open_data_folder(data, settings, clock=CLOCK)
    except _FAILURES as error:
        page = "cluster.md" if settings.store else "data-folder.md"
        yield Finding(
            Level.PROBLEM,
            f"the {'databases' if settings.registry else 'data folder'} cannot be used: {error}",
            f"See docs/operating/{page}.",
        )
        return
    try:
        open_limits(data, settings.registry).close()
        yield Finding(Level.OK, "registry, counters, keys and limits can be opened")
        yield from _examine_seal(folder)
        yield from _examine_cluster(settings)
        yield from _examine_accounts(folder)
    except _FAILURES as error:
        yield Finding(
            Level.PROBLEM, str(error), "Run `openengagement check`, and read the server's log."
        )
    finally:
        folder.close()


def _examine_cluster(settings: Settings) -> Iterator[Finding]:
    if not settings.store:
        return
    status = read_status(settings)
    for problem in status["problems"]:
        yield Finding(Level.PROBLEM, problem, "`openengagement cluster status` shows all servers.")
    if status["healthy"]:
        count = len(status["replicas"])
        yield Finding(Level.OK, f"all {count} servers of ClickHouse answer and are in sync")


def _examine_accounts(folder: DataFolder) -> Iterator[Finding]:
    registry = folder.registry
    counts, states = registry.count(), registry.app_list.count_apps()
    for missing, text, remedy in (
        (
            not counts["platform_keys"],
            "there is no platform key, so the platform can send nothing",
            "openengagement platform-key issue NAME",
        ),
        (
            not registry.accounts.list_accounts(Role.MANAGER),
            "no account is a manager, so apps can be enabled from the command line only",
            "openengagement account role SCREEN_NAME manager",
        ),
        (
            bool(states["waiting"]),
            f"{states['waiting']} app(s) wait for access",
            "openengagement app list --state waiting, then app enable APP_ID",
        ),
    ):
        if missing:
            yield Finding(Level.WARNING, text, remedy)
    failed = registry.deliveries.list_deliveries(limit=1, state=DeliveryState.FAILED)
    if failed:
        yield Finding(
            Level.WARNING,
            f"{counts['deliveries_failed']} notification(s) could not be delivered",
            "openengagement webhook deliveries --state failed, correct the receiver, then "
            f"openengagement webhook retry {failed[0].target}",
        )
    if unfinished := registry.removal.list_unfinished():
        yield Finding(
            Level.PROBLEM,
            f"the erasure of account(s) {', '.join(map(str, unfinished))} is not finished",
            f"openengagement account remove {unfinished[0]} --yes",
        )
