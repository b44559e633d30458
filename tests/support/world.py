"""The seeded data of the wire and interop tests, loaded through the command line.

The ages of Tweets count from now. Events are on fixed dates, so that expected responses are
literal. Only `RECENT` has events in every hour up to now.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from support.cli import call_command

DAY_S = 86_400
HOUR_S = 3600

ALICE, BOB, CAROL, DAVE, STRANGER = "101", "202", "303", "404", "909"
SCREEN_NAMES = {ALICE: "alice", BOB: "bob", CAROL: "carol", DAVE: "dave"}
RECENT = "119"

# Tweet -> author, age in days (None: from its snowflake id), more fields.
_TWEETS: tuple[tuple[str, str, int | None, dict[str, object]], ...] = (
    ("111", ALICE, 10, {}),
    ("112", ALICE, 20, {}),
    ("113", ALICE, 100, {}),
    ("114", ALICE, 30, {"video_id": "13_7001"}),
    ("115", ALICE, 1900, {"video_id": "13_7001"}),
    ("116", ALICE, 5, {}),
    ("117", ALICE, 5, {"deleted": True}),
    ("118", ALICE, 89, {}),
    (RECENT, ALICE, 3, {}),
    ("120", ALICE, 1799, {"video_id": "7002"}),
    ("211", BOB, 10, {}),
    ("212", BOB, 10, {}),
    ("640026211712786432", BOB, None, {}),
    ("640026277605339136", BOB, None, {}),
    ("311", CAROL, 10, {}),
    ("411", DAVE, 10, {}),
    ("911", STRANGER, 10, {}),
)

# Tweet, type, time, count, promoted.
_EVENTS: tuple[tuple[str, str, str, int, bool], ...] = (
    ("111", "impressions", "2024-05-01T00:15:00Z", 3, False),
    ("111", "impressions", "2024-05-01T13:00:00Z", 20, False),
    ("111", "impressions", "2024-05-01T13:30:00Z", 100, True),
    ("111", "impressions", "2024-05-02T13:59:59Z", 17, False),
    ("111", "favorites", "2024-05-01T13:00:00Z", 5, False),
    ("111", "favorites", "2024-05-01T13:10:00Z", -1, False),
    ("111", "retweets", "2024-05-01T23:59:59Z", 2, False),
    ("111", "replies", "2024-05-02T00:00:00Z", 1, False),
    ("111", "quote_tweets", "2024-05-02T05:00:00Z", 1, False),
    ("111", "url_clicks", "2024-05-01T13:20:00Z", 7, False),
    ("111", "url_clicks", "2024-05-01T13:25:00Z", 3, True),
    ("111", "other_engagements", "2024-05-01T14:00:00Z", 2, False),
    ("111", "media_views", "2024-05-01T01:00:00Z", 9, False),
    ("111", "media_engagements", "2024-05-01T02:00:00Z", 6, False),
    ("112", "impressions", "2024-05-01T13:00:00Z", 10, False),
    ("112", "retweets", "2024-05-03T13:00:00Z", 1, False),
    ("113", "impressions", "2024-05-01T13:00:00Z", 8, False),
    ("113", "favorites", "2024-05-01T13:00:00Z", 3, False),
    ("114", "video_views", "2024-05-01T13:00:00Z", 50, False),
    ("115", "video_views", "2024-05-01T13:00:00Z", 7, False),
    ("115", "favorites", "2024-05-01T13:00:00Z", 2, False),
    ("117", "favorites", "2024-05-01T13:00:00Z", 5, False),
    ("118", "impressions", "2024-05-01T13:00:00Z", 4, False),
    ("120", "video_views", "2024-05-01T13:00:00Z", 11, False),
    ("211", "favorites", "2024-05-01T13:00:00Z", 6, False),
    ("211", "impressions", "2024-05-01T13:00:00Z", 9, False),
    ("212", "retweets", "2024-05-01T13:00:00Z", 1, False),
    ("640026211712786432", "retweets", "2024-05-01T13:00:00Z", 12, False),
    ("311", "favorites", "2024-05-01T13:00:00Z", 2, False),
    ("411", "replies", "2024-05-01T13:00:00Z", 3, False),
    ("911", "favorites", "2024-05-01T13:00:00Z", 2, False),
)
_RECENT_HOURS = 29 * 24  # more than four weeks


def recent_count(hour: int) -> int:
    """Return the `url_clicks` of RECENT in this hour (since 1970), up to the hour of seeding."""
    return hour % 5 + 1


@dataclass(frozen=True)
class App:
    """The credentials of an app. The access token is that of its owner."""

    app_id: str
    consumer_key: str
    consumer_secret: str
    access_token: str
    access_token_secret: str


@dataclass(frozen=True)
class World:
    """A seeded data folder, with its credentials. Copy the folder to start a server on it."""

    folder: Path
    seeded_hour: int
    main: App  # alice's
    bobs: App
    carols: App  # its owner is a protected account
    pending: App  # alice's, never enabled
    limited: App  # alice's, LIMIT requests a minute
    platform_key: str

    @property
    def apps(self) -> tuple[App, ...]:
        return (self.main, self.bobs, self.carols, self.pending, self.limited)

    @property
    def secrets(self) -> list[str]:
        """All secrets. They may appear only in the response that issued them."""
        issued = [
            secret for a in self.apps for secret in (a.consumer_secret, a.access_token_secret)
        ]
        return [*issued, self.platform_key]


LIMIT = 4


def build_world(folder: Path) -> World:
    """Create and seed a data folder."""
    now_s = int(time.time())
    data = folder / "data"
    for account_id, name in SCREEN_NAMES.items():
        protected = ["--protected"] if account_id == CAROL else []
        call_command(data, "account", "add", name, "--id", account_id, *protected)
    _load(data, "tweets", [_tweet(*each, now_s=now_s) for each in _TWEETS])
    _load(data, "events", [*map(_event, _EVENTS), *_recent_events(now_s // HOUR_S)])
    return World(
        folder=data,
        seeded_hour=now_s // HOUR_S,
        main=_make_app(data, "main", "alice"),
        bobs=_make_app(data, "bobs", "bob"),
        carols=_make_app(data, "carols", "carol"),
        pending=_make_app(data, "pending", "alice", enabled=False),
        limited=_make_app(data, "limited", "alice", "--per-minute", str(LIMIT)),
        platform_key=call_command(data, "platform-key", "issue", "wire")["platform_key"],
    )


def _make_app(data: Path, name: str, owner: str, *limit: str, enabled: bool = True) -> App:
    made = call_command(data, "app", "add", name, "--owner", owner)
    if enabled:
        call_command(data, "app", "enable", made["app_id"], *limit)
    return App(**made, **call_command(data, "token", "issue", made["app_id"]))


def _load(data: Path, what: str, rows: list[dict[str, object]]) -> None:
    path = data.parent / f"{what}.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = call_command(data, "load", what, str(path))
    assert loaded == {"accepted": len(rows), "rejected": 0}, loaded


def _tweet(
    tweet_id: str, author: str, age_days: int | None, more: dict[str, object], *, now_s: int
) -> dict[str, object]:
    row: dict[str, object] = {"id": tweet_id, "author_id": author, **more}
    if age_days is not None:
        row["created_at"] = show_time(now_s - age_days * DAY_S)
    return row


def _event(event: tuple[str, str, str, int, bool]) -> dict[str, object]:
    return dict(zip(("tweet_id", "type", "at", "count", "promoted"), event, strict=True))


def _recent_events(last_hour: int) -> list[dict[str, object]]:
    return [
        {
            "tweet_id": RECENT,
            "type": "url_clicks",
            "at": show_time(hour * HOUR_S),
            "count": recent_count(hour),
        }
        for hour in range(last_hour - _RECENT_HOURS, last_hour + 1)
    ]


def show_time(time_s: float) -> str:
    """Format Unix seconds as the API does."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))
