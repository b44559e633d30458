"""`openengagement usage`: what the apps used in a month."""

from typing import Annotated

import typer

from openengagement.cli.common import Json, fail, now_s, open_folder, show_rows
from openengagement.engagement.months import month_of, parse_month


def usage(
    context: typer.Context,
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="The month, in UTC; by default this one.")
    ] = None,
    json: Json = False,
) -> None:
    """List the requests and handles of every app in a month, as the contracts count them."""
    try:
        chosen = parse_month(month) if month else month_of(now_s())
    except ValueError as error:
        fail(str(error))
    with open_folder(context, existing=True) as folder:
        apps = folder.registry.usage.read_month(chosen)
    rows = [
        {
            "app_id": str(app.app_id),
            "name": app.name,
            "owner": app.owner,
            "requests": app.used.requests,
            "errors": app.used.errors if json else app.used.refused,
            "handles": app.used.handles,
            "handles_contracted": app.handles_contracted,
        }
        for app in apps
    ]
    empty = f"No app made a request in {chosen}, and none has contracted handles."
    show_rows("apps", rows, as_json=json, empty=empty, month=chosen)
