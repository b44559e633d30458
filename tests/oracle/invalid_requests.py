"""Invalid requests: each function breaks one rule of a valid request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from oracle import wire
from oracle.generator import OWNER_IDS
from oracle.request_maker import APP_ONLY, REFUSALS, ApiRequest, RequestMaker

UNREADABLE_DATES: tuple[Any, ...] = ("nonsense", "2015-02-30", "201507011224", "", 7, [])


def make_request(maker: RequestMaker) -> ApiRequest:
    """Make one request: most are valid, some have one fault, a few have two."""
    faults = maker.rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
    request = maker.valid_request()
    for _ in range(faults):
        maker.rng.choice(BREAKERS)(maker, request)
    if request.auth != "bearer" and "form" in request.headers["Content-Type"]:
        request.headers["Content-Type"] = (
            "application/json"  # a signer would treat the body as a form
        )
    request.raw = request.raw or json.dumps(request.body).encode()
    return request


def current_list(request: ApiRequest, name: str) -> list[Any]:
    """Return a list field, or an empty list if an earlier fault replaced it."""
    value = request.body.get(name)
    return value if isinstance(value, list) else []


def foreign_tweets(maker: RequestMaker, request: ApiRequest) -> None:
    """Add Tweets of other accounts."""
    others = [t for one in OWNER_IDS if one != request.owner_id for t in maker.owned[one]]
    request.body["tweet_ids"] = [
        *current_list(request, "tweet_ids"),
        *map(str, maker.rng.sample(others, 2)),
    ]


def unavailable_tweets(maker: RequestMaker, request: ApiRequest) -> None:
    """Request unavailable Tweets, alone or among others."""
    maker.rng.shuffle(maker.unavailable_ids)
    kept = current_list(request, "tweet_ids") if maker.rng.random() < 0.3 else []
    request.body["tweet_ids"] = [*kept, *map(str, maker.unavailable_ids[: maker.rng.randint(1, 5)])]


def app_only(maker: RequestMaker, request: ApiRequest) -> None:
    """Drop the owner's token from the request."""
    request.auth = maker.rng.choice(APP_ONLY)


def private_metrics(maker: RequestMaker, request: ApiRequest) -> None:
    """Request private metrics without the owner's token."""
    request.auth = maker.rng.choice(APP_ONLY)
    request.body["engagement_types"] = [
        "favorites",
        *maker.rng.sample(("impressions", "engagements"), 2),
    ]


def bad_credentials(maker: RequestMaker, request: ApiRequest) -> None:
    """Use wrong credentials."""
    request.auth = maker.rng.choice(list(REFUSALS))


def bad_ids(maker: RequestMaker, request: ApiRequest) -> None:
    """Add a value that is not an id, or break the list itself."""
    some = current_list(request, "tweet_ids") or ["1"]
    too_many = [str(n) for n in range(1, wire.IDS_MAX[request.endpoint] + 2)]
    repeated = [str(some[0])] * (wire.IDS_MAX[request.endpoint] + 1)
    odd: tuple[Any, ...] = (
        "abc",
        "",
        "-5",
        "+5",
        "1.5",
        "7 7",
        "7\n8",
        "1_0",
        "\uff17",
        "0x1f",
        -7,
        1.5,
        True,
        None,
        {},
        ["1"],
    )
    request.body["tweet_ids"] = maker.rng.choice(
        (
            [*some, maker.rng.choice(odd)],
            [*some, maker.rng.choice(odd)],
            [],
            too_many,
            repeated,
            "20",
            None,
            {"0": "1"},
        )
    )


def bad_types(maker: RequestMaker, request: ApiRequest) -> None:
    """Request types that are unknown or that the endpoint does not serve."""
    rng = maker.rng
    foreign = (
        "quote_tweets"
        if request.endpoint != "totals"
        else rng.choice((*wire.TIMED_TYPES[6:], "media_clicks"))
    )
    some = current_list(request, "engagement_types")
    odd: tuple[Any, ...] = (
        foreign,
        foreign,
        "likes",
        " engagements",
        "Favorites",
        "other_engagements",
        "",
        None,
        7,
        ["favorites"],
    )
    request.body["engagement_types"] = rng.choice(
        ([*some, rng.choice(odd)], [*some, rng.choice(odd)], [], "favorites", None)
    )


def bad_groupings(maker: RequestMaker, request: ApiRequest) -> None:
    """Break the rules of `groupings`."""
    tweet, kind, day, hour = wire.DIMENSIONS
    ok = {"group_by": [tweet]}
    four = {"group_by": [tweet, kind, day, hour]}
    bad_lists: tuple[Any, ...] = (
        [],
        [tweet, tweet],
        [tweet, "Tweet.ID"],
        [kind, "engagement.week"],
        [day],
        [tweet, kind, hour, day],
        [kind, day, hour, tweet],
        [day, hour],
        [hour],
        [tweet, kind, day, hour, hour],
        [" tweet.id"],
        [7],
        [None],
        "tweet.id",
        None,
    )
    request.body["groupings"] = maker.rng.choice(
        (
            *({"odd": {"group_by": one}} for one in bad_lists),
            {"good": ok, "odd": {"group_by": maker.rng.choice(bad_lists)}},
            {"a": ok, "b": ok, "c": ok, "d": ok},
            {"a": four, "b": four},
            {"a": {}},
            {"a": [tweet]},
            {"a": None},
            {"a": ok, maker.rng.choice(wire.RESERVED_NAMES): ok},
            {maker.rng.choice(wire.RESERVED_NAMES): ok},
            {},
            [],
            None,
        )
    )


def bad_dates(maker: RequestMaker, request: ApiRequest) -> None:
    """Send a window that is empty, too long, too old, in the future, or unreadable."""
    rng, now = maker.rng, maker.world.now
    show = wire.show_time
    request.body.pop("start", None)
    request.body.pop("end", None)
    windows: tuple[dict[str, Any], ...] = (
        {"start": show(now - 2 * wire.DAY), "end": show(now - 3 * wire.DAY)},
        {"start": show(now - wire.DAY), "end": show(now - wire.DAY)},
        {
            "start": show(now - 40 * wire.DAY),
            "end": show(now - 12 * wire.DAY + wire.HOUR / 3600),
        },
        {"start": show(now - 29 * wire.DAY)},
        {"start": show(now - wire.DAY), "end": show(now + 3 * wire.HOUR)},
        {"end": show(now + 3 * wire.HOUR)},
        {"start": show(now + 3 * wire.HOUR)},
        {"start": "2014-08-31T23:59:59Z", "end": "2014-09-05"},
        {"start": "2006-03-21", "end": "2006-03-28"},
        *({rng.choice(("start", "end")): odd} for odd in UNREADABLE_DATES),
        {"end": "2015-07-01T24:61:00Z"},
    )
    request.body.update(rng.choice(windows))


def missing_field(maker: RequestMaker, request: ApiRequest) -> None:
    """Leave a required field out."""
    request.body.pop(maker.rng.choice(("tweet_ids", "engagement_types", "groupings")), None)


def not_an_object(maker: RequestMaker, request: ApiRequest) -> None:
    """Send a body that is not a JSON object."""
    request.raw = maker.rng.choice(
        (b"{", b"[]", b"7", b'"x"', b"null", b"{'a': 1}", b'{"a":1,}', b"\xff\xfe", b"{} {}")
    )


BREAKERS: tuple[Callable[[RequestMaker, ApiRequest], None], ...] = (
    foreign_tweets,
    foreign_tweets,
    unavailable_tweets,
    unavailable_tweets,
    app_only,
    private_metrics,
    bad_credentials,
    bad_ids,
    bad_types,
    bad_groupings,
    bad_dates,
    missing_field,
    not_an_object,
)
