"""Request bodies: every limit, at it and one past it, and the leniencies (api.md 1.1 to 1.5)."""

import json
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openengagement.engagement.request import InsightsRequest, parse_request
from openengagement.engagement.types import Dimension, Endpoint
from openengagement.errors import (
    InvalidField,
    MalformedBody,
    RequestError,
    UnsupportedGroupBys,
    UnsupportedTypes,
)
from support.cases import cases

# No deadline: a busy machine may be slow.
QUICK = settings(deadline=None, max_examples=40)

TOTALS, LAST, HISTORICAL = Endpoint.TOTALS, Endpoint.LAST_28_HOURS, Endpoint.HISTORICAL
TWEET, TYPE, DAY, HOUR = "tweet.id", "engagement.type", "engagement.day", "engagement.hour"
NOW_S = datetime(2026, 11, 22, 10, 15, tzinfo=UTC).timestamp()
FLOOR_S = int(datetime(2014, 9, 1, tzinfo=UTC).timestamp())
FOUR_ITEM_ORDERS = [(TWEET, TYPE, DAY, HOUR), (TYPE, TWEET, DAY, HOUR)]
RESERVED = [
    "start", "end", "errors", "unavailable_tweet_ids",
    "unsupported_for_impressions_engagements_tweet_ids", "unsupported_for_video_views_tweet_ids",
]  # fmt: skip
NO_SUCH_TYPES = (
    "One or more of the engagement types you have specified are not supported: ({}). "
    "Please adjust your request and try again."
)
NO_SUCH_GROUP_BYS = (
    "One or more of the groupBys you have specified are not supported: ({}). "
    "Please adjust your request and try again."
)


def whole(**changes):
    """A valid body with the changes of a test; a value of `...` removes the field."""
    body = {
        "tweet_ids": ["1"],
        "engagement_types": ["favorites"],
        "groupings": {"all": {"group_by": [TWEET, TYPE]}},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def parse(body, endpoint=TOTALS, *, groupings_max=3):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_request(endpoint, raw, now_s=NOW_S, floor_s=FLOOR_S, groupings_max=groupings_max)


def refused(error, body, endpoint=TOTALS, **kwargs):
    """The texts of the error, which must be of exactly this class and a 400."""
    with pytest.raises(error) as caught:
        parse(body, endpoint, **kwargs)
    assert type(caught.value) is error
    assert caught.value.status == 400
    assert all(caught.value.texts)
    return caught.value.texts


def grouped(*group_bys, **kwargs):
    return whole(
        groupings={f"g{index}": {"group_by": list(each)} for index, each in enumerate(group_bys)},
        **kwargs,
    )


# --- a whole request -----------------------------------------------------------------------------


def test_a_request_keeps_its_order():
    got = parse(
        whole(
            tweet_ids=["30", "10", "20"],
            engagement_types=["retweets", "favorites"],
            groupings={"Zed": {"group_by": [TYPE]}, "a b-c": {"group_by": [TYPE, TWEET]}},
        )
    )
    assert isinstance(got, InsightsRequest)
    assert (got.endpoint, got.window, got.tweet_ids) == (TOTALS, None, (30, 10, 20))
    assert list(got.types) == ["retweets", "favorites"]
    assert list(got.groupings.items()) == [
        ("Zed", (Dimension.TYPE,)),
        ("a b-c", (Dimension.TYPE, Dimension.TWEET)),
    ]


def test_the_timed_endpoints_get_their_window():
    assert parse(whole(), LAST).window.hours == 29
    got = parse(whole(start="2026-11-01T12:24:00Z", end="2026-11-02T08:37:00Z"), HISTORICAL)
    assert (got.window.start, got.window.end) == ("2026-11-01T12:00:00Z", "2026-11-02T09:00:00Z")


def test_cells_is_the_number_of_counters_of_the_answer():
    body = whole(tweet_ids=["1", "2", "3"], engagement_types=["favorites", "retweets"])
    assert parse(body).cells == 6
    assert parse(body, LAST).cells == 6 * 29


def test_the_largest_documented_request_is_accepted():
    """It is from a real client: three groupings, one of them with four items."""
    groupings = ([TYPE, TWEET, DAY, HOUR], [TYPE, DAY, HOUR], [TWEET, DAY, TYPE])
    ids = [str(index) for index in range(1, 26)]
    assert len(parse(grouped(*groupings, tweet_ids=ids), HISTORICAL).groupings) == 3


# --- JSON ----------------------------------------------------------------------------------------


@cases(
    "body",
    [
        b"", b" ", b"{", b'{"tweet_ids": [', b"{}{}", b"{} x", b"tweet_ids=1", b"NaN", b"'x'",
        b"\xff\xfe", b"\x00", b'{"tweet_ids":["\xff"]}', b'{"tweet_ids":["\\ud800"]}',
        b"\x1f\x8b\x08\x00", b"<xml/>", b'{"tweet_ids": ["1"],}',
    ],
)  # fmt: skip
def test_a_body_that_is_not_json_is_refused_with_one_text(body):
    for endpoint in Endpoint:
        assert len(refused(MalformedBody, body, endpoint)) == 1


@cases("body", [b"[]", b"null", b'"x"', b"5", b"true", b"[{}]"])
def test_a_body_that_is_not_an_object_is_refused(body):
    (text,) = refused(MalformedBody, body)
    assert "object" in text


@cases("open_", [b"[", b'{"a":'])
@cases("prefix", [b"", b'{"extra":', b'{"tweet_ids":', b'{"groupings":{"g":'])
def test_deep_nesting_is_refused(prefix, open_):
    refused(MalformedBody, prefix + open_ * 200_000)


@pytest.mark.parametrize("close", [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_that_is_closed_is_refused(close):
    head = json.dumps(whole()).encode()[:-1]
    deep = close[0] * 50_000 + b"1" + close[1] * 50_000
    refused(MalformedBody, head + b',"extra":' + deep + b"}")


@pytest.mark.parametrize("digits", [20, 400, 4_301, 100_000])
def test_huge_numbers_are_refused(digits):
    body = json.dumps(whole()).replace('["1"]', f"[{'9' * digits}]")
    with pytest.raises(RequestError) as caught:
        parse(body.encode())
    assert caught.value.status == 400
    assert len(caught.value.texts[0]) < 200


@cases("number", ["1e999", "-1e999", "1e-999", "1.5", "1.0", "1e3", "-0"])
def test_numbers_that_are_not_ids_are_refused(number):
    body = json.dumps(whole()).replace('["1"]', f"[{number}]")
    with pytest.raises(RequestError):
        parse(body.encode())


def test_unknown_fields_are_ignored():
    extra = {"Accept-Encoding": "gzip", "tweets": [], "x": {"y": [1.5, None]}, "engagements": 1}
    assert parse(whole(**extra)) == parse(whole())
    groupings = {"all": {"group_by": [TWEET, TYPE], "order": "asc"}}
    assert parse(whole(groupings=groupings)) == parse(whole())


@QUICK
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_as_a_request_error(body):
    with pytest.raises(RequestError):
        parse(body)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@QUICK
@given(st.sampled_from(["tweet_ids", "engagement_types", "groupings", "start", "end"]), _JSON)
def test_any_json_in_a_field_is_accepted_or_refused_as_a_request_error(name, value):
    for endpoint in Endpoint:
        try:
            parse(whole(**{name: value}), endpoint)
        except RequestError as error:
            assert error.texts  # noqa: PT017 - both results are right


# --- fields --------------------------------------------------------------------------------------


@cases("name", ["tweet_ids", "engagement_types", "groupings"])
@cases("endpoint", Endpoint)
@cases("value", [..., None], ids=["missing", "null"])
def test_a_missing_field_is_named(name, endpoint, value):
    body = whole(**{name: value})
    assert refused(InvalidField, body, endpoint) == (f"{name}: field is required",)


@pytest.mark.parametrize("body", [b"{}", b'{"start": "2026-11-01"}', b'{"groupings": null}'])
def test_all_missing_fields_are_named_at_once(body):
    assert refused(InvalidField, body, HISTORICAL) == (
        "tweet_ids: field is required",
        "engagement_types: field is required",
        "groupings: field is required",
    )


def test_field_names_are_compared_exactly():
    body = {name.upper(): value for name, value in whole().items()}
    assert len(refused(InvalidField, body)) == 3


@cases(
    ("name", "value"),
    [
        ("tweet_ids", "1"),
        ("tweet_ids", 1),
        ("tweet_ids", {"0": "1"}),
        ("tweet_ids", True),
        ("tweet_ids", [None]),
        ("tweet_ids", [True]),
        ("tweet_ids", [["1"]]),
        ("tweet_ids", [{"id": "1"}]),
        ("engagement_types", "favorites"),
        ("engagement_types", {"favorites": True}),
        ("engagement_types", [1]),
        ("engagement_types", [None]),
        ("engagement_types", [["favorites"]]),
        ("groupings", []),
        ("groupings", [{"group_by": [TWEET]}]),
        ("groupings", "all"),
        ("groupings", {"all": [TWEET]}),
        ("groupings", {"all": None}),
        ("groupings", {"all": TWEET}),
        ("groupings", {"all": {"group_by": TWEET}}),
        ("groupings", {"all": {"group_by": {TWEET: 1}}}),
        ("groupings", {"all": {"group_by": [1]}}),
        ("groupings", {"all": {"group_by": [None]}}),
        ("groupings", {"all": {"group_by": [[TWEET]]}}),
    ],
)
def test_a_field_of_another_shape_is_refused_under_its_name(name, value):
    for endpoint in Endpoint:
        (text,) = refused(MalformedBody, whole(**{name: value}), endpoint)
        assert text.startswith(name)


@pytest.mark.parametrize("grouping", [{}, {"group-by": [TWEET]}, {"group_by": None}])
def test_a_grouping_without_dimensions_is_a_missing_field(grouping):
    for endpoint in Endpoint:
        (text,) = refused(InvalidField, whole(groupings={"all": grouping}), endpoint)
        assert text == "groupings.all.group_by: field is required"


@cases("name", ["start", "end"])
@cases("value", [5, 1.5, True, [], {}])
def test_a_date_of_another_shape_is_refused_on_historical(name, value):
    (text,) = refused(MalformedBody, whole(**{name: value}), HISTORICAL)
    assert text.startswith(name)


@cases("endpoint", [TOTALS, LAST])
@cases("value", [5, None, [], {}, "rubbish", "2099-01-01"])
def test_dates_are_ignored_where_no_window_is_given(endpoint, value):
    assert parse(whole(start=value, end=value), endpoint) == parse(whole(), endpoint)


def test_an_unreadable_date_is_refused_on_historical():
    (text,) = refused(InvalidField, whole(start="202611010000"), HISTORICAL)
    assert text.startswith("start: ")


# --- Tweet IDs -----------------------------------------------------------------------------------

LIMITS = [(TOTALS, 250), (LAST, 25), (HISTORICAL, 25)]


@pytest.mark.parametrize(("endpoint", "limit"), LIMITS)
def test_as_many_tweet_ids_as_the_limit_are_accepted(endpoint, limit):
    ids = [str(index) for index in range(1, limit + 1)]
    assert parse(whole(tweet_ids=ids), endpoint).tweet_ids == tuple(range(1, limit + 1))


@pytest.mark.parametrize(("endpoint", "limit"), LIMITS)
def test_one_tweet_id_too_many_is_refused_with_both_numbers(endpoint, limit):
    ids = [str(index) for index in range(1, limit + 2)]
    (text,) = refused(InvalidField, whole(tweet_ids=ids), endpoint)
    assert text.startswith("tweet_ids: ")
    assert str(limit) in text
    assert str(limit + 1) in text


@pytest.mark.parametrize(("endpoint", "limit"), LIMITS)
def test_repeated_tweet_ids_count_in_the_limit_and_are_then_dropped(endpoint, limit):
    assert parse(whole(tweet_ids=["7"] * limit), endpoint).tweet_ids == (7,)
    refused(InvalidField, whole(tweet_ids=["7"] * (limit + 1)), endpoint)


def test_whole_numbers_are_ids_and_equal_their_strings():
    assert parse(whole(tweet_ids=[3, "1", "3", 2, 1])).tweet_ids == (3, 1, 2)


@cases(
    "value", ["7\n", "7\r\n", " 7", "7 ", "\t7\t", "\n\n7\v\f", "\u00a07\u2003", " " * 900 + "7"]
)
def test_white_space_around_ids_is_trimmed(value):
    for endpoint in Endpoint:
        assert parse(whole(tweet_ids=["1", value, 7, "7"]), endpoint).tweet_ids == (1, 7)
    assert parse(whole(tweet_ids=[value] * 25)).tweet_ids == (7,)


def test_the_largest_id_is_accepted():
    assert parse(whole(tweet_ids=[2**63 - 1])).tweet_ids == (2**63 - 1,)
    assert parse(whole(tweet_ids=[str(2**63 - 1)])).tweet_ids == (2**63 - 1,)


def test_an_empty_list_of_tweet_ids_is_refused():
    assert refused(InvalidField, whole(tweet_ids=[]))[0].startswith("tweet_ids: ")


@cases(
    "value",
    ["", " ", "abc", "-1", "0", "1.0", "1 2", "1e3", "１", "9" * 400, str(2**63), 0, -5, 2**63],  # noqa: RUF001
)  # fmt: skip
def test_an_id_that_is_not_a_decimal_number_is_refused_with_a_short_quote(value):
    for endpoint in Endpoint:
        (text,) = refused(InvalidField, whole(tweet_ids=["1", value]), endpoint)
        assert text.startswith("tweet_ids: ")
        assert str(value)[:20] in text
        assert len(text) < 200


# --- engagement types ----------------------------------------------------------------------------


@cases(
    ("endpoint", "name"),
    [
        (TOTALS, "url_clicks"),
        (TOTALS, "media_views"),
        (TOTALS, "media_engagements"),
        (TOTALS, "media_clicks"),
        (LAST, "quote_tweets"),
        (HISTORICAL, "quote_tweets"),
        (TOTALS, "likes"),
        (LAST, "other_engagements"),
        (HISTORICAL, "Favorites"),
        (TOTALS, " engagements"),
        (TOTALS, "engagements "),
        (TOTALS, ""),
    ],
)
def test_a_type_that_the_endpoint_does_not_serve_is_named(endpoint, name):
    texts = refused(UnsupportedTypes, whole(engagement_types=["favorites", name]), endpoint)
    assert texts == (NO_SUCH_TYPES.format(name),)


def test_all_unknown_types_are_named_once_in_order():
    types = ["z", "favorites", "url_clicks", "a", "z"]
    assert refused(UnsupportedTypes, whole(engagement_types=types)) == (
        NO_SUCH_TYPES.format("z, url_clicks, a"),
    )


def test_a_flood_of_unknown_types_gets_a_short_answer():
    (text,) = refused(
        UnsupportedTypes, whole(engagement_types=[f"{'x' * 99}{n}" for n in range(9999)])
    )
    assert len(text) < 2000


def test_repeated_types_are_dropped():
    types = ["retweets", "favorites", "retweets", "favorites"]
    assert list(parse(whole(engagement_types=types)).types) == ["retweets", "favorites"]


@pytest.mark.parametrize("endpoint", [LAST, HISTORICAL])
def test_media_clicks_are_media_engagements_under_the_old_name(endpoint):
    got = parse(whole(engagement_types=["media_clicks", "media_engagements"]), endpoint)
    assert {name: rule.counted for name, rule in got.types.items()} == {
        "media_clicks": "media_engagements",
        "media_engagements": "media_engagements",
    }


def test_an_empty_list_of_types_is_refused():
    assert refused(InvalidField, whole(engagement_types=[]))[0].startswith("engagement_types: ")


# --- groupings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_as_many_groupings_as_the_limit_are_accepted_and_one_more_is_refused(limit):
    assert len(parse(grouped(*[[TWEET]] * limit), groupings_max=limit).groupings) == limit
    (text,) = refused(InvalidField, grouped(*[[TWEET]] * (limit + 1)), groupings_max=limit)
    assert text.startswith("groupings: ")
    assert str(limit) in text
    assert str(limit + 1) in text


def test_an_empty_list_of_groupings_is_refused():
    assert refused(InvalidField, whole(groupings={}))[0].startswith("groupings: ")


@cases("name", RESERVED)
@cases("endpoint", Endpoint)
def test_names_of_fields_of_the_answer_are_refused(name, endpoint):
    groupings = {"fine": {"group_by": [TWEET]}, name: {"group_by": [TWEET]}}
    (text,) = refused(InvalidField, whole(groupings=groupings), endpoint)
    assert text.startswith("groupings: ")
    assert name in text


@cases(
    "name",
    ["by tweet", "Start", "a-b", "tweet.id", '"', "%s %d %%", "{}", "\\", "é☃𝄞", "\n", "x" * 999],
)  # fmt: skip
def test_other_names_are_free_text(name):
    assert list(parse(whole(groupings={name: {"group_by": [TWEET]}})).groupings) == [name]


@cases("length", [1, 2, 3])
@cases("endpoint", [LAST, HISTORICAL])
def test_up_to_three_items_are_accepted_in_every_order(endpoint, length):
    for order in permutations([TWEET, TYPE, DAY, HOUR], length):
        assert parse(grouped(order), endpoint).groupings == {"g0": order}


@pytest.mark.parametrize("length", [1, 2])
def test_totals_accept_tweets_and_types_in_every_order(length):
    for order in permutations([TWEET, TYPE], length):
        assert parse(grouped(order)).groupings == {"g0": order}


@cases("endpoint", [LAST, HISTORICAL])
@cases("order", list(permutations([TWEET, TYPE, DAY, HOUR])), ids="-".join)
def test_four_items_are_accepted_in_two_orders_only(order, endpoint):
    if order in FOUR_ITEM_ORDERS:
        assert parse(grouped(order), endpoint).groupings == {"g0": order}
    else:
        (text,) = refused(InvalidField, grouped(order), endpoint)
        assert text.startswith("groupings.g0.group_by: ")
        for allowed in FOUR_ITEM_ORDERS:
            assert ", ".join(allowed) in text


def test_a_grouping_of_four_items_is_accepted_with_smaller_ones():
    groupings = (FOUR_ITEM_ORDERS[0], [TWEET, DAY, HOUR], [TYPE])
    assert len(parse(grouped(*groupings), LAST).groupings) == 3


@pytest.mark.parametrize("second", FOUR_ITEM_ORDERS, ids="-".join)
def test_two_groupings_of_four_items_are_refused(second):
    (text,) = refused(InvalidField, grouped(FOUR_ITEM_ORDERS[0], second), HISTORICAL)
    assert text.startswith("groupings: ")


@pytest.mark.parametrize("group_by", [["Tweet.id"], ["TWEET.ID", "Engagement.Type"]])
def test_group_by_is_compared_without_case(group_by):
    assert parse(grouped(group_by)).groupings == {"g0": tuple(each.lower() for each in group_by)}


@pytest.mark.parametrize(
    ("group_by", "named"),
    [
        ([HOUR], HOUR),
        ([TWEET, DAY], DAY),
        ([DAY, TYPE, HOUR], f"{DAY}, {HOUR}"),
        (FOUR_ITEM_ORDERS[0], f"{DAY}, {HOUR}"),
    ],
)
def test_time_on_totals_is_refused_with_the_text_of_the_wire(group_by, named):
    assert refused(UnsupportedGroupBys, grouped(group_by)) == (NO_SUCH_GROUP_BYS.format(named),)


@cases("name", ["tweet", "user.id", "", " tweet.id", "tweet.id ", "engagement.week", "tweet_id"])
@cases("endpoint", Endpoint)
def test_an_unknown_dimension_is_named(name, endpoint):
    texts = refused(UnsupportedGroupBys, grouped([TWEET, name]), endpoint)
    assert texts == (NO_SUCH_GROUP_BYS.format(name),)


def test_a_flood_of_unknown_dimensions_gets_a_short_answer():
    (text,) = refused(UnsupportedGroupBys, grouped([f"{'x' * 99}{n}" for n in range(9999)]))
    assert len(text) < 2000


@cases(
    "group_by",
    [[TWEET, TWEET], [TYPE, TWEET, TYPE], [TWEET, "Tweet.ID"], [TWEET, TYPE, TWEET, TYPE, TWEET]],
)
@cases("endpoint", Endpoint)
def test_a_repeated_dimension_is_refused(group_by, endpoint):
    (text,) = refused(InvalidField, grouped(group_by), endpoint)
    assert text.startswith("groupings.g0.group_by: ")


@pytest.mark.parametrize("endpoint", Endpoint)
def test_an_empty_group_by_is_refused(endpoint):
    (text,) = refused(InvalidField, grouped([]), endpoint)
    assert text.startswith("groupings.g0.group_by: ")


def test_five_items_are_refused():
    refused(InvalidField, grouped([TWEET, TYPE, DAY, HOUR, TWEET]), LAST)


def test_an_invalid_grouping_among_valid_ones_refuses_the_request():
    (text,) = refused(InvalidField, grouped([TWEET], [TYPE], []))
    assert text.startswith("groupings.g2.group_by: ")
