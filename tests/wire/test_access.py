"""api.md 4.3 and 2.1: every endpoint and every kind of credential.

The two contexts, app-only and user, are tried with every type. The other kinds of credentials are
tried with one type of every sort: tests/unit/engagement/test_access.py has the whole table.
"""

import pytest

from support.calls import question, sign_as_app, sign_as_user
from support.cases import cases

PUBLIC = {"favorites", "retweets", "replies", "quote_tweets", "video_views"}
TOTALS = PUBLIC | {"impressions", "engagements"}
TIMED = {
    *("impressions", "engagements", "favorites", "retweets", "replies", "video_views"),
    *("media_views", "media_engagements", "url_clicks", "hashtag_clicks", "detail_expands"),
    *("permalink_clicks", "app_install_attempts", "app_opens", "email_tweet", "user_follows"),
    "user_profile_clicks",
}
SERVED = {"totals": TOTALS, "28hr": TIMED, "historical": TIMED}
TYPES = sorted(TOTALS | TIMED)
CREDENTIALS = ("nobody", "bearer", "consumer", "empty token", "owner", "another user")
SOME_TYPES = ("favorites", "impressions", "quote_tweets", "url_clicks", "other_engagements")
APP_ONLY = {"bearer", "consumer", "empty token"}


def auth(who, server):
    main = server.world.main
    return {
        "nobody": lambda: None,
        "bearer": lambda: server.bearer(main),
        "consumer": lambda: sign_as_app(main),
        "empty token": lambda: sign_as_app(main, resource_owner_key=""),
        "owner": lambda: sign_as_user(main),
        "another user": lambda: sign_as_user(server.world.bobs),
    }[who]()


def expected(endpoint, name, who):
    """The expected status and error, from the tables of api.md alone."""
    if who == "nobody":
        return 401, ["Your account could not be authenticated. Reason: Unknown Authorization Type"]
    if name not in SERVED[endpoint]:
        return 400, [
            (
                "One or more of the engagement types you have specified are not supported: "
                f"({name}). Please adjust your request and try again."
            )
        ]
    if who == "another user":
        return 403, ["Forbidden to access tweets: 111"]
    if who in APP_ONLY and (endpoint != "totals" or name not in PUBLIC):
        return 403, [f"Forbidden to access metrics: {name}"]
    return 200, None


def test_there_are_eighteen_types():
    assert len(TYPES) == 18
    assert len(TOTALS) == 7
    assert len(TIMED) == 17


@cases("who", CREDENTIALS)
@cases("endpoint", SERVED)
def test_every_type(server, endpoint, who):
    every_type = who in {"bearer", "owner"}
    for name in (*TYPES, "other_engagements") if every_type else SOME_TYPES:
        answer = server.client.ask(endpoint, question("111", types=(name,)), auth(who, server))
        status, errors = expected(endpoint, name, who)
        assert answer.status == status, (name, answer)
        found = answer.json()
        assert found.get("errors") == errors, name
        if status == 200:
            assert list(found["g"]) == ["111"]
            assert list(found["g"]["111"]) == [name]
        else:
            assert found.keys() == {"errors"}


@pytest.mark.parametrize("endpoint", SERVED)
def test_one_private_type_refuses_an_app_only_request(server, endpoint):
    types = ("favorites", "impressions", "retweets", "engagements")
    answer = server.client.ask(
        endpoint, question("111", types=types), server.bearer(server.world.main)
    )
    private = types if endpoint != "totals" else ("impressions", "engagements")
    assert answer.status == 403
    assert answer.json() == {"errors": [f"Forbidden to access metrics: {', '.join(private)}"]}


def test_errors_hold_no_counts(server):
    """Access is decided before any counter is read."""
    body = question("111", "211", types=("favorites", "impressions"))
    for auth_ in (None, server.bearer(server.world.main), sign_as_user(server.world.main)):
        answer = server.client.ask("totals", body, auth_)
        assert answer.status >= 400
        assert answer.json().keys() == {"errors"}
