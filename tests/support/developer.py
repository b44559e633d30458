"""Use the developer pages of the portal, and read credentials from them."""

import re

from support.person import Page, Person
from support.world import App

PORTAL = "/portal"
NEW = "/portal/new"
# Elements of the keys page that show a credential -> the name of the credential in the `.env`.
SECRETS = {
    "consumer-key": "CONSUMER_KEY",
    "consumer-secret": "CONSUMER_SECRET",
    "access-token": "ACCESS_TOKEN",
    "access-token-secret": "ACCESS_TOKEN_SECRET",
    "bearer-token": "BEARER_TOKEN",
}


def settings_path(app_id: str) -> str:
    return f"/portal/apps/{app_id}"


def keys_path(app_id: str) -> str:
    return f"/portal/apps/{app_id}/keys"


def create(
    person: Person, name: str = "Tide Tables", *, complete: bool = False, **fields: str
) -> tuple[str, Page]:
    """Create an app. Return its App ID, and the page that shows its key and secret.

    With `complete`, the page shows every credential.
    """
    page = person.open(NEW)
    form = page.form_with("name", action=NEW)
    if not complete:
        form.fields = [field for field in form.fields if field[0] != "complete"]
    made = person.submit(page, form, name=name, **fields)
    found = re.fullmatch(r".*/portal/apps/(\d+)/keys", made.url)
    assert found, made
    return found[1], made


def act(person: Person, app_id: str, action: str) -> Page:
    """Press the button of this action. Return the next page."""
    page = person.open(keys_path(app_id))
    return person.submit(page, page.form_sending("action", action), action=action)


def secrets_on(page: Page) -> dict[str, str]:
    """Return the credentials that a keys page shows, by their names in the `.env`."""
    return {name: page.text(id_) for id_, name in SECRETS.items() if id_ in page.texts}


def env_on(page: Page) -> dict[str, str]:
    """Return the lines of the `.env` on a keys page, as a dictionary."""
    pairs = (line.partition("=") for line in page.texts["env"].split())
    return {name: value for name, _, value in pairs}


def collect(person: Person, name: str = "Tide Tables", **fields: str) -> tuple[App, str]:
    """Create an app with every credential. Return the app and its bearer token."""
    app_id, page = create(person, name, **fields)
    found = secrets_on(page)
    for action in ("generate_bearer", "generate_token"):
        found |= secrets_on(act(person, app_id, action))
    names = ("CONSUMER_KEY", "CONSUMER_SECRET", "ACCESS_TOKEN", "ACCESS_TOKEN_SECRET")
    return App(app_id, *(found[name] for name in names)), found["BEARER_TOKEN"]
