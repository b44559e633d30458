"""`openengagement platform-key`: the keys with which the platform itself calls the server."""

from typing import Annotated, Final

import msgspec
import typer

from openengagement.auth.credentials import issue_platform_key
from openengagement.cli.common import Json, fail, now_s, open_folder, show
from openengagement.data_folder import DataFolder
from openengagement.engagement.types import format_time
from openengagement.registry.platform_keys import PlatformKey

platform_key = typer.Typer(
    help="The platform's own keys, for sending events.", no_args_is_help=True
)

ONE_TIME = "Save it now: only its hash is stored, so it cannot be shown again."
NAME_LENGTH_MAX: Final = 128
_NEVER: Final = "never used"
_MISSING: Final = "there is no platform key {}; see: openengagement platform-key list"
KeyName = Annotated[
    str, typer.Argument(metavar="NAME_OR_ID", help="A name or an id that `list` shows.")
]


@platform_key.command("issue")
def issue_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that says its purpose.")],
    json: Json = False,
) -> None:
    """Issue a key for sending events and for registering accounts and Tweets."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        fail(f"a name has 1 to {NAME_LENGTH_MAX} printable characters and no space at its ends")
    with open_folder(context) as folder:
        key = issue_platform_key(folder.registry, name=name, now_s=now_s())
    show({"platform_key": key}, as_json=json, notes=(ONE_TIME,))


@platform_key.command("list")
def list_keys(context: typer.Context, json: Json = False) -> None:
    """List the keys, the oldest first, with their ids. A time of use may be some seconds late."""
    with open_folder(context) as folder:
        keys = folder.registry.platform_keys.list_platform_keys()
    if json:
        rows = [{**_describe(key), "last_used_at": _last_used_at(key)} for key in keys]
        typer.echo(msgspec.json.encode({"platform_keys": rows}).decode())
        return
    for key in keys:
        described = _describe(key)
        used = f"used {at}" if (at := _last_used_at(key)) else _NEVER
        typer.echo(f"{described['id']}  issued {described['created_at']}  {used:25}  {key.name}")
    if not keys:
        typer.secho("There are no platform keys.", dim=True, err=True)


@platform_key.command("revoke")
def revoke_key(
    context: typer.Context,
    key: KeyName,
    json: Json = False,
) -> None:
    """Revoke a key, from its next request on. The audit log records it."""
    with open_folder(context) as folder:
        found = _find_key(folder, key)
        if not folder.registry.platform_keys.revoke_platform_key(found, now_s=now_s()):
            fail(_MISSING.format(key))
    show(_describe(found), as_json=json)


@platform_key.command("rotate")
def rotate_key(
    context: typer.Context,
    key: KeyName,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Do not revoke the old key yet.")
    ] = False,
    json: Json = False,
) -> None:
    """Issue a key with the name of another one, and revoke that one.

    Producers need the new key at once. With --keep-old, both work until you revoke the old one by
    its id. A batch that is sent again under another key counts again: finish retries first.
    """
    with open_folder(context) as folder:
        old, registry = _find_key(folder, key), folder.registry
        new = issue_platform_key(registry, name=old.name, now_s=now_s())
        if not keep_old:
            registry.platform_keys.revoke_platform_key(old, now_s=now_s())
    fields = {"platform_key": new, "old_id": old.id, "old_revoked": not keep_old}
    show(fields, as_json=json, notes=(ONE_TIME,))


def _find_key(folder: DataFolder, text: str) -> PlatformKey:
    keys = folder.registry.platform_keys.list_platform_keys()
    found = [each for each in keys if text in {each.name, each.id}]
    if not found:
        fail(_MISSING.format(text))
    if len(found) > 1:
        ids = ", ".join(each.id for each in found)
        fail(f"{len(found)} platform keys are called {text}; name one by its id: {ids}")
    return found[0]


def _describe(key: PlatformKey) -> dict[str, str]:
    return {"id": key.id, "name": key.name, "created_at": format_time(key.created_at_s)}


def _last_used_at(key: PlatformKey) -> str | None:
    return format_time(key.last_used_s) if key.last_used_s is not None else None
