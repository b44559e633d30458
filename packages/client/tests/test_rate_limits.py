"""The windows of the rate limits, step by step."""

import pytest

from openengagement_client.rate_limits import RateLimit, RateLimitWindows, parse_rate_limits
from openengagement_client.retry_policy import RetryPolicy, is_transient, wait_after
from support.cases import cases


def headers(remaining, reset_s, *, unit="minute", limit=3):
    values = {"limit": limit, "remaining": remaining, "reset": reset_s}
    return {f"x-per-{unit}-{name}": str(value) for name, value in values.items()}


def test_before_the_first_answer_nothing_is_limited():
    windows = RateLimitWindows()
    assert [windows.reserve(0.0) for _ in range(100)] == [0.0] * 100
    assert windows.seen == {}


def test_requests_in_progress_are_counted():
    windows = RateLimitWindows()
    windows.observe(headers(2, 60))
    assert [windows.reserve(50.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(10.25)]


def test_answers_may_come_in_any_order():
    windows = RateLimitWindows()
    for remaining in (1, 0, 2):
        windows.observe(headers(remaining, 60))
    assert windows.reserve(50.0) > 10
    windows.observe(headers(2, 120))
    windows.observe(headers(0, 60))
    assert windows.reserve(70.0) == 0.0


def test_after_a_reset_the_next_window_is_guessed():
    """Until an answer shows it, it is asked about once a second."""
    windows = RateLimitWindows()
    windows.observe(headers(0, 60))
    assert [windows.reserve(60.5) for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert windows.seen["minute"] == RateLimit(3, 0, 120.0)
    windows.observe(headers(1, 63))
    assert windows.reserve(61.0) == 0.0
    assert windows.reserve(61.0) == pytest.approx(2.25)


def test_the_longest_wait_counts():
    windows = RateLimitWindows()
    windows.observe(headers(5, 120) | headers(0, 61, unit="second"))
    assert windows.reserve(60.5) == pytest.approx(0.75)
    windows.observe(headers(0, 120))
    assert windows.reserve(60.5) == pytest.approx(59.75)


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5"])
def test_headers_that_are_no_numbers_are_ignored(value):
    assert parse_rate_limits(headers(value, 60)) == {}
    assert parse_rate_limits({}) == {}


@cases(
    ("status", "given", "expected"),
    [
        (503, {"retry-after": "7"}, 7.0),
        (503, {"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 10.0),
        (503, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        (503, {"retry-after": "soon"}, 0.0),
        (503, headers(0, 60), 0.0),
        (429, headers(0, 60), 10.0),
        (429, headers(1, 60), 0.0),
        (429, headers(0, 60) | headers(0, 51, unit="second"), 10.0),
        (429, {**headers(0, 60), "retry-after": "3"}, 3.0),
        (429, {}, 0.0),
    ],
)
def test_the_wait_that_a_server_asks_for(status, given, expected):
    assert wait_after(status, given, now_s=50.0) == expected


def test_the_back_off_doubles_up_to_its_limit():
    policy = RetryPolicy(backoff_s=1, backoff_max_s=5)
    assert [policy.wait_s(failures, jitter=1) for failures in range(1, 6)] == [1, 2, 4, 5, 5]
    assert policy.wait_s(3, jitter=0) == 2


def test_damage_on_the_servers_disk_does_not_pass():
    assert is_transient(503, {"x-error-code": "store_unavailable"})
    assert not is_transient(503, {"x-error-code": "store_damaged"})
    assert not is_transient(400, {})


@cases(
    ("status", "passes"),
    [*((each, True) for each in (408, 429, 500, 502, 503, 504, 507, 520, 529, 599))]
    + [(each, False) for each in (200, 304, 400, 401, 403, 404, 406, 501, 505, 600)],
)
def test_statuses_that_pass(status, passes):
    assert is_transient(status, {}) == passes
