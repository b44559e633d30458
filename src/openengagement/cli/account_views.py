"""`openengagement account list`, `show` and `remove`."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from openengagement.cli.common import (
    CLOCK,
    Json,
    Yes,
    confirm,
    fail,
    find_account,
    find_account_id,
    open_folder,
    show,
    show_rows,
    show_time,
)
from openengagement.data_folder import DataFolder
from openengagement.engagement.permissions import Role
from openengagement.registry.accounts import Account
from openengagement.registry.audit import COMMAND_LINE
from openengagement.stores.contract import Forgets
from openengagement.tuning import lower_priority

account = typer.Typer(help="The platform's users.", no_args_is_help=True)
ScreenName = Annotated[
    str, typer.Argument(metavar="SCREEN_NAME", help="The screen name of the account.")
]


@account.command("list")
def list_accounts(
    context: typer.Context,
    role: Annotated[Role | None, typer.Option(help="Only accounts with this role.")] = None,
    json: Json = False,
) -> None:
    """List the accounts by screen name."""
    with open_folder(context, existing=True) as folder:
        accounts = folder.registry.accounts.list_accounts(role)
    show_rows("accounts", [_describe(each) for each in accounts], as_json=json)


@account.command("show")
def show_account(context: typer.Context, screen_name: ScreenName, json: Json = False) -> None:
    """Show an account: its apps, and how many Tweets, tokens and sessions it has."""
    with open_folder(context, existing=True) as folder:
        known, registry = find_account(folder, screen_name), folder.registry
        tweets = folder.stores.tweets
        fields = {
            **_describe(known),
            "mail": registry.accounts.read_mail(known.id),
            "second_factor": _has_second_factor(folder, known),
            "has_password": registry.password_hashes.read_password_hash(known.id) is not None,
            "apps": [str(each.id) for each in registry.apps.list_owned(known.id)],
            "access_tokens": len(registry.grants.list_grants(known.id)),
            "sessions": len(registry.sessions.list_sessions(known.id, oldest_s=0)),
        }
        if isinstance(tweets, Forgets):
            fields["tweets"] = len(tweets.read_authored([known.id]).tweet_ids)
    show(fields if json else {**fields, "apps": ", ".join(fields["apps"]) or "-"}, as_json=json)


@account.command("remove")
def remove_accounts(
    context: typer.Context,
    accounts: Annotated[
        list[str], typer.Argument(metavar="SCREEN_NAME_OR_ID...", help="One account or several.")
    ],
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Erase accounts with their Tweets, counters, apps, tokens and sessions.

    Servers may be running. It cannot be undone. Several accounts in one command take little longer
    than one. If the command is interrupted, run it again.
    """
    names = ", ".join(accounts)
    confirm(f"Erase {names} and everything that belongs to them?", yes=yes)
    lower_priority()
    with open_folder(context, existing=True) as folder:
        ids = {text: find_account_id(folder, text) for text in accounts}
        eraser = folder.eraser(now_s=CLOCK.now_s)
        found = {text: eraser.begin(ids[text], actor=COMMAND_LINE) for text in ids}
        eraser.complete([*ids.values()])
    if missing := [text for text, erased in found.items() if erased is None]:
        others = "" if len(missing) == len(found) else "; the others were erased"
        fail(f"there is no account {', '.join(missing)}, and it has no Tweets{others}")
    rows = [{"id": str(ids[text]), **asdict(erased)} for text, erased in found.items() if erased]
    show_rows("erased_accounts", rows, as_json=json)


def _has_second_factor(folder: DataFolder, known: Account) -> bool:
    factor = folder.registry.second_factors.read(known.id)
    return factor is not None and factor.confirmed_at_s is not None


def _describe(known: Account) -> dict[str, Any]:
    return {
        "id": str(known.id),
        "screen_name": known.screen_name,
        "protected": known.protected,
        "role": known.role,
        "created_at": show_time(known.created_at_s),
    }
