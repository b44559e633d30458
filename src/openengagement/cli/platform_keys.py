"""`openengagement platform-key`: the keys with which the platform itself calls the server."""

from typing import Annotated, Final

import msgspec
import typer

from openengagement.auth.credentials import issue_platform_key
from openengagement.cli.common import Json, fail, now_s, open_folder, show
from openengagement.data_folder import DataFolder
from openengagement.engagement.types import DAY_S, format_time
from openengagement.registry.platform_keys import (
    NAME_LENGTH_MAX,
    PlatformKey,
    Scope,
    is_key_name,
)

platform_key = typer.Typer(
    help="The platform's own keys, for sending events.", no_args_is_help=True
)

ONE_TIME = "Save it now: only its hash is stored, so it cannot be shown again."
_NEVER: Final = "never used"
_ALL: Final = "all scopes"
_DAYS_MAX: Final = 36_500
_MISSING: Final = "there is no platform key {}; see: openengagement platform-key list"
ExpiresDays = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=_DAYS_MAX,
        show_default=False,
        help="After so many days the key is refused. Without it, the key never expires.",
    ),
]
KeyName = Annotated[
    str, typer.Argument(metavar="NAME_OR_ID", help="A name or an id that `list` shows.")
]


@platform_key.command("issue")
def issue_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that says its purpose.")],
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            show_default=False,
            help="What the key is for; may be repeated. events: send events, register and delete "
            "Tweets; accounts: register and erase accounts; usage: read the usage. By default all.",
        ),
    ] = None,
    expires_days: ExpiresDays = None,
    json: Json = False,
) -> None:
    """Issue a key for sending events, for registering Tweets and accounts, and for usage."""
    if not is_key_name(name):
        fail(f"a name has 1 to {NAME_LENGTH_MAX} printable characters and no space at its ends")
    with open_folder(context) as folder:
        key = issue_platform_key(
            folder.registry,
            name=name,
            now_s=now_s(),
            scopes=" ".join(sorted(set(scope))) if scope else None,
            expires_at_s=_days_from_now(expires_days),
        )
    show({"platform_key": key}, as_json=json, notes=(ONE_TIME,))


@platform_key.command("list")
def list_keys(context: typer.Context, json: Json = False) -> None:
    """List the keys, the oldest first, with their ids. A time of use may be some seconds late."""
    with open_folder(context, existing=True) as folder:
        keys = folder.registry.platform_keys.list_platform_keys()
    if json:
        rows = {"platform_keys": [*map(_describe_fully, keys)]}
        typer.echo(msgspec.json.encode(rows).decode())
        return
    for key in keys:
        used = f"used {at}" if (at := _time_of(key.last_used_s)) else _NEVER
        rights = ", ".join([key.scopes or _ALL, *_expiry_of(key)])
        issued = _time_of(key.created_at_s)
        typer.echo(f"{key.id}  issued {issued}  {used:25}  {rights}  {key.name}")
    if not keys:
        typer.secho("There are no platform keys.", dim=True, err=True)


@platform_key.command("revoke")
def revoke_key(
    context: typer.Context,
    key: KeyName,
    json: Json = False,
) -> None:
    """Revoke a key, from its next request on. The audit log records it."""
    with open_folder(context, existing=True) as folder:
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
    expires_days: ExpiresDays = None,
    json: Json = False,
) -> None:
    """Issue a key with the name and the scopes of another one, and revoke that one.

    If the old key expires, the new one is valid for as many days again, unless --expires-days
    says otherwise. Producers need the new key at once. With --keep-old, both work until you revoke
    the old one by its id. A batch that is sent again under another key counts again: finish
    retries first.
    """
    with open_folder(context, existing=True) as folder:
        old, registry = _find_key(folder, key), folder.registry
        new = issue_platform_key(
            registry,
            name=old.name,
            now_s=now_s(),
            scopes=old.scopes,
            expires_at_s=_days_from_now(expires_days) or _same_lifetime(old),
        )
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


def _describe(key: PlatformKey) -> dict[str, object]:
    return {"id": key.id, "name": key.name, "created_at": _time_of(key.created_at_s)}


def _describe_fully(key: PlatformKey) -> dict[str, object]:
    return {
        **_describe(key),
        "scopes": key.scopes.split() if key.scopes else [*Scope],
        "expires_at": _time_of(key.expires_at_s),
        "last_used_at": _time_of(key.last_used_s),
    }


def _expiry_of(key: PlatformKey) -> list[str]:
    if key.expires_at_s is None:
        return []
    verb = "expired" if key.is_expired(now_s()) else "expires"
    return [f"{verb} {_time_of(key.expires_at_s)}"]


def _days_from_now(days: int | None) -> int | None:
    return None if days is None else now_s() + days * DAY_S


def _same_lifetime(old: PlatformKey) -> int | None:
    if old.expires_at_s is None:
        return None
    return now_s() + old.expires_at_s - old.created_at_s


def _time_of(at_s: int | None) -> str | None:
    return None if at_s is None else format_time(at_s)
