"""Illegal requests: each function breaks one rule of a legal one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from oracle import wire
from oracle.asking import APP_ONLY, REFUSALS, Ask, Asker
from oracle.generator import OWNER_IDS

UNREADABLE_DATES: tuple[Any, ...] = ("nonsense", "2015-02-30", "201507011224", "", 7, [])


def make_ask(asker: Asker) -> Ask:
    """Make one request: most are legal, some carry one fault, a few two."""
    faults = asker.rng.choice((0, 0, 0, 0, 0, 1, 1, 2))
    ask = asker.legal_ask()
    for _ in range(faults):
        asker.rng.choice(BREAKERS)(asker, ask)
    if ask.auth != "bearer" and "form" in ask.headers["Content-Type"]:
        ask.headers["Content-Type"] = "application/json"  # a signer would take the body for a form
    ask.raw = ask.raw or json.dumps(ask.body).encode()
    return ask


def listed(ask: Ask, name: str) -> list[Any]:
    """Take a list an earlier fault may already have spoilt."""
    value = ask.body.get(name)
    return value if isinstance(value, list) else []


def other_peoples(asker: Asker, ask: Ask) -> None:
    """Put Tweets of others among the ids."""
    others = [t for one in OWNER_IDS if one != ask.owner_id for t in asker.owned[one]]
    ask.body["tweet_ids"] = [*listed(ask, "tweet_ids"), *map(str, asker.rng.sample(others, 2))]


def nothing_to_be_had(asker: Asker, ask: Ask) -> None:
    """Ask for unavailable Tweets, alone or among others."""
    asker.rng.shuffle(asker.shut)
    kept = listed(ask, "tweet_ids") if asker.rng.random() < 0.3 else []
    ask.body["tweet_ids"] = [*kept, *map(str, asker.shut[: asker.rng.randint(1, 5)])]


def alone(asker: Asker, ask: Ask) -> None:
    """Ask without the owner's token, whatever is asked for."""
    ask.auth = asker.rng.choice(APP_ONLY)


def private_alone(asker: Asker, ask: Ask) -> None:
    """Ask for private metrics without the owner's token."""
    ask.auth = asker.rng.choice(APP_ONLY)
    ask.body["engagement_types"] = [
        "favorites",
        *asker.rng.sample(("impressions", "engagements"), 2),
    ]


def bad_credentials(asker: Asker, ask: Ask) -> None:
    """Sign with something wrong."""
    ask.auth = asker.rng.choice(list(REFUSALS))


def bad_ids(asker: Asker, ask: Ask) -> None:
    """Put something among the ids that is none, or break the list itself."""
    some = listed(ask, "tweet_ids") or ["1"]
    too_many = [str(n) for n in range(1, wire.IDS_MAX[ask.endpoint] + 2)]
    repeated = [str(some[0])] * (wire.IDS_MAX[ask.endpoint] + 1)
    odd: tuple[Any, ...] = (
        "abc",
        "",
        "-5",
        "+5",
        "1.5",
        " 7",
        "7\n",
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
    ask.body["tweet_ids"] = asker.rng.choice(
        (
            [*some, asker.rng.choice(odd)],
            [*some, asker.rng.choice(odd)],
            [],
            too_many,
            repeated,
            "20",
            None,
            {"0": "1"},
        )
    )


def bad_types(asker: Asker, ask: Ask) -> None:
    """Ask for types that are unknown or that the endpoint does not serve."""
    rng = asker.rng
    foreign = (
        "quote_tweets"
        if ask.endpoint != "totals"
        else rng.choice((*wire.TIMED_TYPES[6:], "media_clicks"))
    )
    some = listed(ask, "engagement_types")
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
    ask.body["engagement_types"] = rng.choice(
        ([*some, rng.choice(odd)], [*some, rng.choice(odd)], [], "favorites", None)
    )


def bad_groupings(asker: Asker, ask: Ask) -> None:
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
    ask.body["groupings"] = asker.rng.choice(
        (
            *({"odd": {"group_by": one}} for one in bad_lists),
            {"good": ok, "odd": {"group_by": asker.rng.choice(bad_lists)}},
            {"a": ok, "b": ok, "c": ok, "d": ok},
            {"a": four, "b": four},
            {"a": {}},
            {"a": [tweet]},
            {"a": None},
            {"a": ok, asker.rng.choice(wire.RESERVED_NAMES): ok},
            {asker.rng.choice(wire.RESERVED_NAMES): ok},
            {},
            [],
            None,
        )
    )


def bad_dates(asker: Asker, ask: Ask) -> None:
    """Send a window that is none, too long, too old, ahead, or unreadable."""
    rng, now = asker.rng, asker.world.now
    show = wire.show_time
    ask.body.pop("start", None)
    ask.body.pop("end", None)
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
    ask.body.update(rng.choice(windows))


def missing_field(asker: Asker, ask: Ask) -> None:
    """Leave a required field out."""
    ask.body.pop(asker.rng.choice(("tweet_ids", "engagement_types", "groupings")), None)


def no_object(asker: Asker, ask: Ask) -> None:
    """Send something that is no JSON object."""
    ask.raw = asker.rng.choice(
        (b"{", b"[]", b"7", b'"x"', b"null", b"{'a': 1}", b'{"a":1,}', b"\xff\xfe", b"{} {}")
    )


BREAKERS: tuple[Callable[[Asker, Ask], None], ...] = (
    other_peoples,
    other_peoples,
    nothing_to_be_had,
    nothing_to_be_had,
    alone,
    private_alone,
    bad_credentials,
    bad_ids,
    bad_types,
    bad_groupings,
    bad_dates,
    missing_field,
    no_object,
)
