"""The demo accounts, app and credentials of a sandbox, and example Tweets."""

import dataclasses
from dataclasses import dataclass
from typing import Final

import polars as pl

from openengagement.auth.credentials import (
    Granted,
    draw_access_token,
    hash_token,
    issue_access_token,
    issue_app,
    issue_bearer,
)
from openengagement.data_folder import DataFolder
from openengagement.engagement.permissions import Role
from openengagement.engagement.types import HOUR_S, snowflake
from openengagement.registry.accounts import Account
from openengagement.registry.apps import App, AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.registry.grants import OOB
from openengagement.registry.platform_keys import PlatformKey
from openengagement.sandbox.dataset import Dataset
from openengagement.sign_in.passwords import hash_password

APP_NAME: Final = "Sandbox demo"
WAITING_APP_NAME: Final = "Harbour Charts"
MANAGER: Final = "manager"
PASSWORD_LENGTH: Final = 16
CONSUMER_KEY_LENGTH: Final = 25
SHOWN_TWEETS: Final = 5
CALLBACK: Final = "http://127.0.0.1:8081/callback"
RECENT_S: Final = 28 * HOUR_S  # the window of `/28hr`


@dataclass(frozen=True, slots=True)
class Demo:
    """The values that a sandbox prints. `tweet_ids` are the demo author's; the other one is not.

    `events` counts rows, of which `simulated` are not real. An empty sandbox has no Tweets.
    `callback` is the first callback URL of the demo app; `oob` if a person removed all of them.
    """

    screen_name: str
    password: str
    app_id: int
    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str
    bearer_token: str
    platform_key: str
    callback: str
    manager: str
    manager_password: str
    tweet_ids: list[int]
    other_tweet_id: int | None
    events: int
    simulated: int
    tweets: int


def describe(folder: DataFolder, dataset: Dataset, *, extra: tuple[int, int], now_s: int) -> Demo:
    """Create missing demo apps and credentials.

    `extra` has the number of events besides those of the dataset, and of all simulated ones.
    """
    screen_name, owner_id = _demo_author(dataset)
    registry, keyring = folder.registry, folder.keyring
    app, consumer_secret = _demo_app(folder, owner_id, now_s=now_s)
    token, token_secret = _access_token(folder, Granted(app.id, owner_id), now_s=now_s)
    own = dataset.tweets.filter(pl.col("author_id") == owner_id)
    recent = dataset.events.filter(pl.col("at") >= now_s - RECENT_S)
    others = dataset.tweets.filter(pl.col("author_id") != owner_id)
    unprotected = dataset.accounts.filter(~pl.col("protected"))
    public = others.join(unprotected, left_on="author_id", right_on="id", how="semi")
    return Demo(
        screen_name=screen_name,
        password=_password(folder, screen_name, account_id=owner_id),
        app_id=app.id,
        consumer_key=app.consumer_key,
        consumer_secret=consumer_secret,
        access_token=token,
        access_token_secret=token_secret,
        bearer_token=issue_bearer(registry, keyring, app=app),
        platform_key=_platform_key(folder, now_s=now_s),
        callback=next(iter(registry.apps.read_callbacks(app.id)), OOB),
        manager=MANAGER,
        manager_password=_password(folder, MANAGER, account_id=_demo_manager(folder, now_s=now_s)),
        tweet_ids=_busiest(recent, own.get_column("id"), most=SHOWN_TWEETS),
        other_tweet_id=next(iter(_busiest(dataset.events, public.get_column("id"), most=1)), None),
        events=dataset.events.height + extra[0],
        simulated=extra[1],
        tweets=dataset.tweets.height,
    )


def _demo_author(dataset: Dataset) -> tuple[str, int]:
    """Return name and id of `demo_author`, or of the author of the Tweet with most engagement."""
    demo = dataset.accounts.filter(pl.col("screen_name") == "demo_author")
    if demo.is_empty():
        top = _busiest(dataset.events, dataset.tweets.get_column("id"), most=1)[0]
        author = dataset.tweets.filter(pl.col("id") == top).get_column("author_id")
        demo = dataset.accounts.filter(pl.col("id") == author.item())
    return demo.get_column("screen_name").item(), demo.get_column("id").item()


def _busiest(events: pl.DataFrame, tweet_ids: pl.Series, *, most: int) -> list[int]:
    """Return up to `most` of the Tweets with the highest counts in `events`, highest first."""
    among = events.filter(pl.col("tweet_id").is_in(tweet_ids.implode()))
    sums = among.group_by("tweet_id").agg(pl.col("count").sum())
    busiest = sums.sort("count", "tweet_id", descending=True).head(most)
    return busiest.get_column("tweet_id").to_list()


def _password(folder: DataFolder, screen_name: str, *, account_id: int) -> str:
    """Return the password of an account, and set it if the account has none.

    It is derived from the server key, so it stays the same and is never stored in the clear.
    """
    password = folder.keyring.tags("sandbox password", screen_name)[-1][:PASSWORD_LENGTH]
    if folder.registry.password_hashes.read_password_hash(account_id) is None:
        hashed = hash_password(password)
        folder.registry.password_hashes.set_password(account_id, password_hash=hashed)
    return password


def _derive(folder: DataFolder, purpose: str) -> str:
    """Derive a credential of the demo from the server key: 43 URL-safe characters."""
    return folder.keyring.tags("sandbox", purpose)[-1]


def _access_token(folder: DataFolder, granted: Granted, *, now_s: int) -> tuple[str, str]:
    """Return the demo author's access token and secret; the first one is derived."""
    registry, keyring = folder.registry, folder.keyring
    made = dataclasses.replace(
        draw_access_token(keyring, granted),
        token=f"{granted.account_id}-{_derive(folder, 'access token')}",
        secret=keyring.encrypt(_derive(folder, "access token secret")),
    )
    registry.grants.add_access_token(made, now_s=now_s)  # does nothing if there is one
    return issue_access_token(registry, keyring, granted=granted, now_s=now_s)


def _platform_key(folder: DataFolder, *, now_s: int) -> str:
    """Return the platform key of the sandbox. Only its hash is stored, so it is derived."""
    key = f"oepk_{_derive(folder, 'platform key')}"
    keys = folder.registry.platform_keys
    if keys.find_platform_key(hash_token(key)) is None:
        keys.add_platform_key(PlatformKey(hash_token(key), "sandbox", now_s))
    return key


def _demo_manager(folder: DataFolder, *, now_s: int) -> int:
    """Return the id of the manager's account; create it if it is missing."""
    known = folder.registry.accounts.find_account(MANAGER)
    if known is None:
        known = Account(snowflake(now_s), MANAGER, now_s)
        folder.registry.accounts.add_account(known)
        # Like the command line, so that the audit log records the change of role.
        folder.registry.decisions.set_role(known.id, Role.MANAGER, actor=COMMAND_LINE, now_s=now_s)
    return known.id


def _demo_app(folder: DataFolder, owner_id: int, *, now_s: int) -> tuple[App, str]:
    app = folder.registry.apps.find_by_name(APP_NAME, owner_id=owner_id)
    if app is None:
        text = "Shows how a client asks for engagement metrics."
        form = AppForm(APP_NAME, owner_id, [CALLBACK], description=text)
        secret = folder.keyring.encrypt(_derive(folder, "consumer secret"))
        credentials = (_derive(folder, "consumer key")[:CONSUMER_KEY_LENGTH], secret)
        app_id = folder.registry.apps.add_app(form, credentials=credentials, now_s=now_s)
        folder.registry.decisions.change_app(
            app_id, {"enabled": True}, actor=COMMAND_LINE, now_s=now_s
        )
        waiting = AppForm(WAITING_APP_NAME, owner_id, [], description="Waits to be enabled.")
        issue_app(folder.registry, folder.keyring, form=waiting, now_s=now_s)
        app = folder.registry.apps.read_app(app_id)
    assert app is not None, "apps are never removed"
    return app, folder.keyring.decrypt(app.consumer_secret)
