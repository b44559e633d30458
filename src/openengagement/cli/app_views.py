"""`openengagement app list`, `show` and `remove`."""

from typing import Annotated, Any, Final

import typer

from openengagement.cli.common import (
    AppId,
    Json,
    Yes,
    confirm,
    fail,
    find_account,
    find_app,
    now_s,
    open_folder,
    show,
    show_rows,
    show_time,
)
from openengagement.engagement.months import month_of
from openengagement.registry.app_list import AppState, Search
from openengagement.registry.audit import COMMAND_LINE

app = typer.Typer(help="Developers' applications.", no_args_is_help=True)
_ALL: Final = 10_000_000  # more than there can be


@app.command("list")
def list_apps(
    context: typer.Context,
    state: Annotated[AppState | None, typer.Option(help="Only apps in this state.")] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="SCREEN_NAME", help="Only apps of this account.")
    ] = None,
    json: Json = False,
) -> None:
    """List the apps with their state, limits, and requests of this month, the busiest first."""
    with open_folder(context, existing=True) as folder:
        name = find_account(folder, owner).screen_name if owner else None
        search = Search(state=state)
        apps = folder.registry.app_list.list_apps(search, month=month_of(now_s()), limit=_ALL)
    rows = [
        {
            "app_id": str(each.id),
            "name": each.name,
            "owner": each.owner,
            "state": each.state,
            "per_minute": each.per_minute,
            "handles_contracted": each.handles_contracted,
            "requests": each.requests,
            "refused": each.refused,
            "created_at": show_time(each.created_at_s),
        }
        for each in apps
        if name is None or each.owner == name
    ]
    show_rows("apps", rows, as_json=json)


@app.command("show")
def show_app(context: typer.Context, app_id: AppId, json: Json = False) -> None:
    """Show an app: its settings, state, limits, tokens, and usage of this month. No secrets."""
    with open_folder(context, existing=True) as folder:
        found, registry = find_app(folder, app_id), folder.registry
        owner = registry.accounts.read_account(found.owner_id)
        month = month_of(now_s())
        used = registry.usage.read_app_usage(app_id, [month])[month]
        fields: dict[str, Any] = {
            "app_id": str(found.id),
            "name": found.name,
            "owner": owner.screen_name if owner else None,
            "state": registry.app_list.read_state(app_id),
            "per_minute": found.per_minute,
            "handles_contracted": found.handles_contracted,
            "consumer_key": found.consumer_key,
            "access_level": found.access_level,
            "sign_in": found.sign_in,
            "callbacks": registry.apps.read_callbacks(app_id),
            "website": found.website,
            "description": found.description,
            "created_at": show_time(found.created_at_s),
            "has_bearer_token": found.bearer_hash is not None,
            "access_tokens": len(registry.grants.list_tokens(app_id=app_id)),
            "requests": used.requests,
            "refused": used.refused,
            "handles": used.handles,
        }
    if not json:
        fields["callbacks"] = " ".join(fields["callbacks"]) or "-"
        fields |= {name: fields[name] or "-" for name in ("website", "description")}
    show(fields, as_json=json)


@app.command("remove")
def remove_app(context: typer.Context, app_id: AppId, yes: Yes = False, json: Json = False) -> None:
    """Remove an app with its keys and all tokens. Its usage stays. It cannot be undone."""
    with open_folder(context, existing=True) as folder:
        found, registry = find_app(folder, app_id), folder.registry
        confirm(f"Remove the app {found.name} ({app_id}) with all its tokens?", yes=yes)
        if not registry.removal.remove_app(app_id, actor=COMMAND_LINE, now_s=now_s()):
            fail(f"there is no app with App ID {app_id}")
    show({"app_id": str(app_id), "name": found.name}, as_json=json)
