"""Groupings of every size (api.md 1.2), checked against one fixed cube.

tests/unit/engagement/test_grouping.py and test_request.py try every order of dimensions.
"""

import pytest

from support.calls import question, sign_as_user
from support.cases import cases

TWEET, TYPE, DAY, HOUR = "tweet.id", "engagement.type", "engagement.day", "engagement.hour"
DIMENSIONS = (TWEET, TYPE, DAY, HOUR)
FOUR = ((TWEET, TYPE, DAY, HOUR), (TYPE, TWEET, DAY, HOUR))
WINDOW = {"start": "2024-05-01T13:00:00Z", "end": "2024-05-02T14:00:00Z"}
TWEETS, TYPES = ("111", "112"), ("impressions", "url_clicks", "replies")
# (Tweet, type, day, hour) -> count; every other cell of the window is zero.
CELLS = {
    ("111", "impressions", "2024-05-01", "13"): 20,
    ("111", "impressions", "2024-05-02", "13"): 17,
    ("111", "url_clicks", "2024-05-01", "13"): 10,
    ("111", "replies", "2024-05-02", "00"): 1,
    ("112", "impressions", "2024-05-01", "13"): 10,
}
HOURS = [
    *(("2024-05-01", f"{hour:02}") for hour in range(13, 24)),
    *(("2024-05-02", f"{hour:02}") for hour in range(14)),
]
ORDERS = [(DAY,), (HOUR, TWEET), (TYPE, DAY), (TWEET, TYPE, HOUR), (DAY, HOUR, TYPE), *FOUR]
REFUSED = [(DAY, HOUR, TWEET, TYPE), (TWEET, TYPE, HOUR, DAY)]


def nested(order):
    """Compute the grouping cell by cell."""
    sums = {}
    for tweet in TWEETS:
        for name in TYPES:
            for day, hour in HOURS:
                cell = dict(zip(DIMENSIONS, (tweet, name, day, hour), strict=True))
                key = tuple(cell[each] for each in order)
                sums[key] = sums.get(key, 0) + CELLS.get((tweet, name, day, hour), 0)
    result = {}
    for key, count in sums.items():
        level = result
        for each in key[:-1]:
            level = level.setdefault(each, {})
        level[key[-1]] = str(count)
    return result


@cases("order", ORDERS, ids=" ".join)
def test_groupings_of_every_size(server, order):
    body = question(*TWEETS, types=TYPES, groupings={"g": {"group_by": order}}, **WINDOW)
    answer = server.client.ask("historical", body, sign_as_user(server.world.main))
    assert answer.json() == {**WINDOW, "g": nested(order)}


@pytest.mark.parametrize("order", REFUSED, ids=" ".join)
def test_four_values_in_another_order_are_refused(server, order):
    body = question(*TWEETS, types=TYPES, groupings={"g": {"group_by": order}}, **WINDOW)
    answer = server.client.ask("historical", body, sign_as_user(server.world.main))
    assert (answer.status, answer.code) == (400, "invalid_field"), answer


@cases("order", ORDERS, ids=" ".join)
def test_a_time_dimension_on_totals_is_refused_by_name(server, order):
    body = question(*TWEETS, types=("impressions",), groupings={"g": {"group_by": order}})
    answer = server.client.ask("totals", body, sign_as_user(server.world.main))
    named = ", ".join(each for each in order if each in {DAY, HOUR})
    assert answer.status == 400
    assert answer.json() == {
        "errors": [
            (
                "One or more of the groupBys you have specified are not supported: "
                f"({named}). Please adjust your request and try again."
            )
        ]
    }
