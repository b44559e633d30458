"""What a sandbox prints: an app, its owner, credentials that work at once, Tweets to ask about."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from openengagement.auth.credentials import (
    Granted,
    issue_access_token,
    issue_app,
    issue_bearer,
)
from openengagement.data_folder import DataFolder
from openengagement.engagement.permissions import Role
from openengagement.engagement.types import snowflake
from openengagement.registry.accounts import Account
from openengagement.registry.apps import App, AppForm
from openengagement.registry.audit import COMMAND_LINE
from openengagement.sandbox.dataset import Dataset
from openengagement.sign_in.passwords import hash_password

APP_NAME: Final = "Sandbox demo"
WAITING_APP_NAME: Final = "Harbour Charts"
MANAGER: Final = "manager"
PASSWORD_LENGTH: Final = 16
SHOWN_TWEETS: Final = 5
LATELY_S: Final = 28 * 3600  # what `/28hr` shows


@dataclass(frozen=True, slots=True)
class Demo:
    """What a sandbox prints: all a client needs, with Tweets of the owner and of someone else."""

    screen_name: str
    password: str
    app_id: int
    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str
    bearer_token: str
    manager: str
    manager_password: str
    tweet_ids: list[int]
    other_tweet_id: int
    events: int
    simulated: int
    tweets: int


def describe(parts: DataFolder, dataset: Dataset, *, extra: int, now_s: int) -> Demo:
    """Make the app and its credentials where they are not there yet; `extra` rows are simulated."""
    screen_name, owner_id = _demo_author(dataset)
    registry, keyring = parts.registry, parts.keyring
    app, consumer_secret = _demo_app(parts, owner_id, now_s=now_s)
    token, token_secret = issue_access_token(
        registry, keyring, granted=Granted(app.id, owner_id), now_s=now_s
    )
    mine = dataset.tweets.filter(pl.col("author_id") == owner_id)
    lately = dataset.events.filter(pl.col("at") >= now_s - LATELY_S)
    others = dataset.tweets.filter(pl.col("author_id") != owner_id)
    public = others.join(
        dataset.accounts.filter(~pl.col("protected")),
        left_on="author_id",
        right_on="id",
        how="semi",
    )
    busiest = _busiest(dataset.events, public.get_column("id"), most=1)
    return Demo(
        screen_name=screen_name,
        password=_password(parts, screen_name, account_id=owner_id),
        app_id=app.id,
        consumer_key=app.consumer_key,
        consumer_secret=consumer_secret,
        access_token=token,
        access_token_secret=token_secret,
        bearer_token=issue_bearer(registry, keyring, app=app),
        manager=MANAGER,
        manager_password=_password(parts, MANAGER, account_id=_demo_manager(parts, now_s=now_s)),
        tweet_ids=_busiest(lately, mine.get_column("id"), most=SHOWN_TWEETS),
        other_tweet_id=busiest[0],
        events=dataset.events.height + extra,
        simulated=extra,
        tweets=dataset.tweets.height,
    )


def _demo_author(dataset: Dataset) -> tuple[str, int]:
    """The author made for it, or else the one whose Tweet drew the most."""
    made = dataset.accounts.filter(pl.col("screen_name") == "demo_author")
    if made.is_empty():
        top = _busiest(dataset.events, dataset.tweets.get_column("id"), most=1)[0]
        author = dataset.tweets.filter(pl.col("id") == top).get_column("author_id")
        made = dataset.accounts.filter(pl.col("id") == author.item())
    return made.get_column("screen_name").item(), made.get_column("id").item()


def _busiest(events: pl.DataFrame, tweet_ids: pl.Series, *, most: int) -> list[int]:
    """Those of these Tweets that these events are mostly on, the busiest first."""
    among = events.filter(pl.col("tweet_id").is_in(tweet_ids.implode()))
    sums = among.group_by("tweet_id").agg(pl.col("count").sum())
    busiest = sums.sort("count", "tweet_id", descending=True).head(most)
    return busiest.get_column("tweet_id").to_list()


def _password(parts: DataFolder, screen_name: str, *, account_id: int) -> str:
    """The password that an account signs in with, set where it has none.

    Proven rather than stored, so that it is the same at each start and lies nowhere in the clear.
    """
    password = parts.keyring.tags("sandbox password", screen_name)[-1][:PASSWORD_LENGTH]
    if parts.registry.password_hashes.read_password_hash(account_id) is None:
        parts.registry.password_hashes.set_password(
            account_id, password_hash=hash_password(password)
        )
    return password


def _demo_manager(parts: DataFolder, *, now_s: int) -> int:
    """The account that decides over apps."""
    known = parts.registry.accounts.find_account(MANAGER)
    if known is None:
        known = Account(snowflake(now_s), MANAGER, now_s)
        parts.registry.accounts.add_account(known)
        # As the command line does, so that the audit log tells where the manager came from.
        parts.registry.decisions.set_role(known.id, Role.MANAGER, actor=COMMAND_LINE, now_s=now_s)
    return known.id


def _demo_app(parts: DataFolder, owner_id: int, *, now_s: int) -> tuple[App, str]:
    app = parts.registry.apps.find_by_name(APP_NAME, owner_id=owner_id)
    if app is None:
        form = AppForm(
            APP_NAME,
            owner_id,
            ["http://127.0.0.1:8081/callback"],
            description="Shows how a client asks for engagement metrics.",
        )
        made = issue_app(parts.registry, parts.keyring, form=form, now_s=now_s)
        parts.registry.decisions.change_app(
            made.app_id, {"enabled": True}, actor=COMMAND_LINE, now_s=now_s
        )
        waiting = AppForm(WAITING_APP_NAME, owner_id, [], description="Waits to be enabled.")
        issue_app(parts.registry, parts.keyring, form=waiting, now_s=now_s)
        app = parts.registry.apps.read_app(made.app_id)
    if app is None:
        raise RuntimeError("the demo app vanished while it was made")
    return app, parts.keyring.decrypt(app.consumer_secret)
