"""Make seeded random valid requests about a world, with every leniency that real clients need."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from oracle import wire
from oracle.generator import OWNER_IDS, World
from oracle.model import Caller

UNAUTHENTICATED = "Your account could not be authenticated. Reason: "
REFUSALS = {
    "no credentials": (401, UNAUTHENTICATED + "Unknown Authorization Type"),
    "basic": (401, UNAUTHENTICATED + "Unknown Authorization Type"),
    "unknown bearer": (401, UNAUTHENTICATED + "Bearer token not found"),
    "unknown token": (401, UNAUTHENTICATED + "Access token not found"),
    "unknown consumer": (401, UNAUTHENTICATED + "Consumer key not found"),
    "wrong secret": (401, UNAUTHENTICATED + "Invalid signature"),
    "app not enabled": (403, "Your application ID is not authorized."),
}
APP_ONLY = ("bearer", "consumer only")
Body = dict[str, Any]


@dataclass
class ApiRequest:
    """One request: its endpoint, its kind of authentication, the owner of its app, and its body."""

    endpoint: str
    auth: str
    owner_id: int
    body: Body
    raw: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def caller(self) -> Caller:
        """Return the caller that the server should recognise."""
        if self.auth in REFUSALS:
            return Caller(refused=REFUSALS[self.auth])
        return Caller(None if self.auth in APP_ONLY else self.owner_id)


class RequestMaker:
    """Makes requests about one world."""

    def __init__(
        self, world: World, seed: int, *, ids_max: int = 250, cells_max: int = 40_000
    ) -> None:
        self.rng = random.Random(f"asks {seed}")
        self.world = world
        self.ids_max, self.cells_max = ids_max, cells_max
        owned: dict[int, list[int]] = {}
        for tweet_id, (tweet, _) in world.tweets.items():
            owned.setdefault(tweet.author_id, []).append(tweet_id)
        self.owned = owned
        self.unavailable_ids = [
            t for one, ids in owned.items() if one not in OWNER_IDS for t in ids
        ] + world.unknown_ids

    def valid_request(self) -> ApiRequest:
        """Make one well-formed request. Its caller may still lack the rights for it."""
        rng = self.rng
        endpoint = rng.choice(wire.ENDPOINTS)
        app_only = endpoint == "totals" and rng.random() < 0.4
        owner_id = rng.choice(OWNER_IDS)
        request = ApiRequest(endpoint, rng.choice(APP_ONLY) if app_only else "user", owner_id, {})
        request.body = {
            "tweet_ids": self.ids(request),
            "engagement_types": self.types(request),
            "groupings": self.groupings(endpoint),
        }
        if endpoint == "historical":
            request.body.update(self.dates())
        self.limit_cells(request)
        self.add_leniencies(request)
        return request

    # Valid parts.

    def ids(self, request: ApiRequest) -> list[Any]:
        """Choose Tweets of the owner, or of anybody for an app alone; some are unavailable."""
        rng = self.rng
        limit = min(wire.IDS_MAX[request.endpoint], self.ids_max)
        own = self.owned[request.owner_id]
        pool = own if request.auth == "user" else list(self.world.tweets)
        chosen = rng.sample(pool, min(rng.choice((1, 2, 5, 20, limit)), len(pool)))
        if rng.random() < 0.25 and request.auth == "user":
            chosen += rng.sample(self.world.unknown_ids, 2)
        if rng.random() < 0.03:
            chosen = [*chosen, *range(20_000_000, 20_000_000 + limit)][:limit]
        if rng.random() < 0.2:
            chosen = [*chosen, rng.choice(chosen)]
        rng.shuffle(chosen)
        return [str(tweet_id) for tweet_id in chosen[:limit]]

    def types(self, request: ApiRequest) -> list[Any]:
        """Choose engagement types: sometimes all, a repeated one, or one under its old name."""
        rng = self.rng
        served = list(wire.TOTALS_TYPES if request.endpoint == "totals" else wire.TIMED_TYPES)
        if request.auth in APP_ONLY:
            served = list(wire.PUBLIC_TYPES)
        chosen = rng.sample(served, rng.choice((1, 2, 3, len(served))))
        if request.endpoint != "totals" and rng.random() < 0.15:
            chosen = ["media_clicks" if name == "media_engagements" else name for name in chosen]
        if rng.random() < 0.15:
            chosen.append(rng.choice(chosen))
        return chosen

    def groupings(self, endpoint: str) -> dict[str, Any]:
        """Choose one to three groupings, in any allowed order."""
        rng = self.rng
        names = [
            "by tweet",
            "per-type",
            "Zeit-Reihe \u00e9",
            'a "b" <c>',
            "0",
            "hour_of_day",
            "Start",
            "tweet.id",
        ]
        rng.shuffle(names)
        groupings: dict[str, Any] = {}
        four_items_left = 1
        for name in names[: rng.choice((1, 1, 2, 3))]:
            dimensions = list(wire.DIMENSIONS[:2] if endpoint == "totals" else wire.DIMENSIONS)
            size = rng.randint(1, len(dimensions) - (endpoint != "totals" and not four_items_left))
            group_by = rng.sample(dimensions, size)
            if size == len(wire.DIMENSIONS):
                four_items_left -= 1
                group_by = list(rng.choice(wire.FOUR_ITEM_ORDERS))
            if rng.random() < 0.1:
                group_by = [
                    rng.choice((str.upper, str.capitalize, str.title))(one) for one in group_by
                ]
            groupings[name] = {"group_by": group_by}
        return groupings

    def dates(self) -> dict[str, str]:
        """Choose a window of at most 28 days, with neither date, one of them, or both."""
        rng, now = self.rng, self.world.now
        kind = rng.choice(("neither", "start", "end", "both", "both", "both"))
        if kind == "neither":
            return {}
        if kind == "start":
            return {"start": self.date(now - rng.uniform(0.1, 27.9) * wire.DAY)}
        if kind == "end":
            return {"end": self.date(now - rng.uniform(0, 50) * wire.DAY, rounded_down=True)}
        if rng.random() < 0.05:
            start = wire.OLDEST_START
            return {
                "start": wire.show_time(start),
                "end": wire.show_time(start + rng.uniform(1, 28) * wire.DAY),
            }
        end = now - rng.choice((0, 0, 5, 30)) * rng.random() * wire.DAY
        end = wire.ceil_hour(end) if rng.random() < 0.4 else end.replace(microsecond=0)
        if rng.random() < 0.2:
            start = end - wire.FOUR_WEEKS
            return {"start": wire.show_time(start), "end": wire.show_time(end)}
        start = end - rng.choice((0.01, 0.1, 1, 7, 27.9)) * rng.uniform(0.5, 1) * wire.DAY
        return {"start": self.date(start.replace(microsecond=0)), "end": wire.show_time(end)}

    def date(self, moment: datetime, *, rounded_down: bool = False) -> str:
        """Write a date in one of the accepted forms."""
        form = self.rng.choice(("Z", "Z", "fraction", "offset", "date"))
        if form == "fraction":
            return moment.strftime("%Y-%m-%dT%H:%M:%S.") + self.rng.choice(
                ("5Z", "000Z", "123456Z")
            )
        if form == "offset":
            return (moment - 3.5 * wire.HOUR).strftime("%Y-%m-%dT%H:%M:%S-03:30")
        if form == "date" and rounded_down:
            return moment.strftime("%Y-%m-%d")
        return wire.show_time(moment)

    def limit_cells(self, request: ApiRequest) -> None:
        """Remove Tweets and types until the answer is small enough for a quick test."""
        hourly = any(wire.AT_HOUR in str(one).lower() for one in request.body["groupings"].values())
        hours = {"totals": 1, "28hr": 29, "historical": 672}[request.endpoint] if hourly else 28
        while (
            len(request.body["tweet_ids"]) * len(request.body["engagement_types"]) * hours
            > self.cells_max
        ):
            longest = max(request.body["tweet_ids"], request.body["engagement_types"], key=len)
            del longest[len(longest) // 2 :]

    def add_leniencies(self, request: ApiRequest) -> None:
        """Add deviations that real clients send and that the server must accept."""
        rng, body = self.rng, request.body
        if rng.random() < 0.1:
            body["tweet_ids"] = [
                int(one) if rng.random() < 0.7 else one for one in body["tweet_ids"]
            ]
        if rng.random() < 0.1:
            body["Accept-Encoding"] = "gzip"
            body["groupings"] = {
                name: {**one, "note": [1]} for name, one in body["groupings"].items()
            }
        if request.endpoint != "historical" and rng.random() < 0.15:
            body["start"], body["end"] = rng.choice(
                (("2015-01-01", "2016-01-01"), ("nonsense", 7), (None, []))
            )
        request.headers["Content-Type"] = rng.choice(
            ("application/json",) * 6 + ("text/plain", "application/json; charset=utf-8")
        )
        if request.auth == "bearer" and rng.random() < 0.1:
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        if rng.random() < 0.1:
            request.headers["Content-Encoding"] = "gzip"
        if rng.random() < 0.1:
            request.headers["Accept-Encoding"] = rng.choice(
                ("identity", "gzip", "deflate, gzip", "gzip;q=1.0,deflate;q=0.6,identity;q=0.3")
            )
