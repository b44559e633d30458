"""A server that means harm: no secret leaves, nothing is unbounded, and every failure is an error.

The class of the error matters little here. It must be one of this package, so that a program that
catches `EngagementError` survives.
"""

import time
from datetime import timedelta

import pytest

from both_clients import QUICK, USER
from misbehaving import KEYS, Misbehaving
from openengagement_client import (
    ApiError,
    BadRequest,
    Credentials,
    EngagementClient,
    EngagementError,
    PlatformClient,
    RateLimited,
    RetryPolicy,
    TransportError,
    UnexpectedAnswer,
    historical_query,
    last_28_hours_query,
    totals_query,
)
from openengagement_client.authorization import make_stamp
from openengagement_client.clock import ServerClock, parse_http_date
from openengagement_client.content_encoding import BODY_MAX_BYTES
from openengagement_client.credentials import Profile
from openengagement_client.errors import make_error
from openengagement_client.http_messages import ApiCall, HttpResponse
from openengagement_client.rate_limits import parse_rate_limits
from openengagement_client.reports import parse_report
from openengagement_client.sessions import open_session
from support.cases import cases
from support.waiting import PATIENCE_S

ONE = totals_query(["1"], ["favorites"])
SECRETS = [KEYS["consumer_secret"], KEYS["access_token"], KEYS["access_token_secret"]]


@pytest.mark.parametrize("credentials", [USER, Credentials(bearer_token="b")])
def test_redirects_are_not_followed(run, misbehaving, credentials):
    """Neither to another host nor on the same one: a signature is for one URL."""
    with Misbehaving() as other:
        for target in (other.url, misbehaving.url, "//evil.example"):
            misbehaving.elsewhere = target
            misbehaving.faults.append("redirect")
            with pytest.raises(UnexpectedAnswer, match="redirects to"):
                run(ONE, misbehaving.url, credentials)
        assert other.statuses == other.bodies == []
    assert misbehaving.statuses == [307] * 3


def test_a_redirected_batch_is_kept(misbehaving):
    """It is no refusal of the batch, which the right server may take."""
    with PlatformClient(misbehaving.url, "key", policy=QUICK) as platform:
        misbehaving.faults.append("redirect")
        sender = platform.sender()
        sender.send({"tweet_id": "1"})
        with pytest.raises(UnexpectedAnswer):
            sender.flush()
        assert (len(sender.failed), sender.refused) == (1, [])
        sender.failed.clear()
        sender.close()


@pytest.mark.parametrize(
    ("fault", "is_refusal"), [("400", True), ("407", False), ("408", False), ("404", False)]
)
def test_a_batch_is_set_aside_only_if_the_server_has_judged_it(misbehaving, fault, is_refusal):
    misbehaving.faults.extend([fault] * 100)
    with PlatformClient(misbehaving.url, "key", policy=QUICK) as platform:
        sender = platform.sender()
        sender.send({"tweet_id": "1"})
        with pytest.raises(ApiError):
            sender.flush()
        assert (len(sender.failed), len(sender.refused)) == (not is_refusal, is_refusal)
        sender.failed.clear()
        sender.close()


@pytest.mark.parametrize("fault", ["bomb", "endless"])
def test_bodies_are_bounded(run, misbehaving, fault):
    """A body that is too large is not asked for again."""
    misbehaving.faults.extend([fault] * 100)
    with pytest.raises(UnexpectedAnswer, match=f"more than {BODY_MAX_BYTES} bytes"):
        run(ONE, misbehaving.url)
    assert len(misbehaving.faults) == 99


@pytest.mark.parametrize(
    "fault", ["deep", "deep_array", "deep_refusal", "words", "digits", "flat", "control"]
)
def test_nonsense_is_an_error_of_this_package(run, misbehaving, fault):
    misbehaving.faults.extend([fault] * 100)
    with pytest.raises(EngagementError) as caught:
        list(run(ONE, misbehaving.url))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("fault", ["words", "digits", "flat"])
def test_nonsense_that_must_be_added_up(run, misbehaving, fault):
    """The counts of several requests have the same keys."""
    misbehaving.faults.extend([fault] * 2)
    with pytest.raises(UnexpectedAnswer, match="totals"):
        list(run(totals_query(range(1, 501), ["favorites"]), misbehaving.url))


@pytest.mark.parametrize("start", [5, "soon", "2026-13-01", {}, ["2026-01-01"]])
@pytest.mark.parametrize("make", [last_28_hours_query, historical_query])
def test_windows_that_are_no_times(run, misbehaving, make, start):
    real = misbehaving.answer
    misbehaving.answer = lambda *given, **more: {**real(*given, **more), "start": start}
    with pytest.raises(UnexpectedAnswer, match="'start' of the answer is not a time"):
        run(make(["1"], ["favorites"]), misbehaving.url)


@pytest.mark.parametrize("reset_s", [10**12, 10**17, 10**400])
def test_a_reset_in_the_far_future_is_not_waited_for(run, misbehaving, reset_s):
    misbehaving.limits = {"minute": 0}
    misbehaving.more_headers = {
        "x-per-minute-limit": "1",
        "x-per-minute-remaining": "0",
        "x-per-minute-reset": str(reset_s),
    }
    misbehaving.rate_headers = False
    began = time.monotonic()
    with pytest.raises(RateLimited):
        run(ONE, misbehaving.url, policy=RetryPolicy(3, 0.001, wait_max_s=900))
    assert time.monotonic() - began < PATIENCE_S


def test_a_far_reset_does_not_stop_answers_that_are_served(run, misbehaving):
    """The server says that its limit is used up for years, and serves every request."""
    misbehaving.rate_headers = False
    misbehaving.more_headers = {
        "x-per-minute-limit": "1",
        "x-per-minute-remaining": "0",
        "x-per-minute-reset": str(10**11),
    }
    misbehaving.faults.extend(["", "500", "500"])
    ids = [str(each) for each in range(1, 1001)]
    assert len(run(totals_query(ids, ["favorites"]), misbehaving.url)["totals"]) == 1000


@pytest.mark.parametrize("text", ["9" * 30, "9" * 5000, "1e9", "-5", "Infinity"])
def test_waits_that_no_server_needs(run, misbehaving, text):
    misbehaving.more_headers = {"retry-after": text}
    misbehaving.faults.extend(["503"] * 2)
    policy = RetryPolicy(4, 0.001, 0.01, wait_max_s=30)
    if text.isdecimal():
        with pytest.raises(ApiError):
            run(ONE, misbehaving.url, policy=policy)
    else:
        assert run(ONE, misbehaving.url, policy=policy)["totals"]
    names = ("limit", "remaining", "reset")
    assert parse_rate_limits({f"x-per-minute-{name}": text for name in names}) == {}


@cases(
    "date",
    [
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Mon, 01 Jan 0001 00:00:00 +2359",
        "Mon, 99 Jan 2026 00:00:00 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "0",
        "",
    ],
)
def test_dates_that_cannot_be_are_ignored(date):
    clock = ServerClock(wall=lambda: 1_780_000_000.0)
    clock.observe(date)
    assert not clock.is_known
    assert clock.now_s() == 1_780_000_000.0


def test_a_date_without_a_zone_is_utc():
    assert parse_http_date("Thu, 01 Jan 1970 00:01:00 -0000") == 60.0


def test_the_clock_of_a_liar_changes_nothing_but_the_timestamp(run, misbehaving):
    """The server is believed about its clock. Its signatures are of no use elsewhere."""
    misbehaving.clock_offset_s = timedelta(days=5000).total_seconds()
    query = historical_query(["1"] * 2, ["favorites"], groupings=["engagement.day"])
    assert len(run(query, misbehaving.url)["counts"]) in (28, 29)


def test_no_secret_is_shown():
    """Neither by `repr`, which tracebacks and logs use, nor in the text of errors."""
    session = open_session(Profile("https://x.example", USER), None, allow_plain_http=False)
    call = ApiCall("POST", "/x", b"the body")
    request = session.attempt(call)
    response = HttpResponse(200, {"set-cookie": "secret"}, b"oauth_token_secret=secret")
    for shown in (session, call, request, response, make_stamp(0.0)):
        text = repr(shown)
        assert not [each for each in (*SECRETS, "secret", "the body") if each in text], text
    assert "OAuth" not in repr(request)


@pytest.mark.parametrize("url", ["https://me:hunter2@x.example", "https://me:hunter2@x:port"])
def test_a_password_in_a_url_is_not_repeated(url):
    with pytest.raises(EngagementError) as caught:
        EngagementClient(url, USER)
    assert "hunter2" not in str(caught.value)


def test_errors_of_the_connection_show_no_credentials(run):
    with pytest.raises(TransportError) as caught:
        run(ONE, "http://127.0.0.1:9", policy=RetryPolicy(1))
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert not [each for each in SECRETS if each in shown]


def test_a_proxy_of_the_environment_never_sees_requests_to_this_machine(
    run, misbehaving, monkeypatch
):
    """They are not encrypted."""
    with Misbehaving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        for url in (misbehaving.url, misbehaving.url.replace("127.0.0.1", "localhost")):
            assert run(ONE, url, Credentials(bearer_token="AAAA%2Fbearer"))["totals"]
        assert proxy.statuses == []


@cases(
    "body",
    [
        None,
        [],
        {},
        {"accepted": "many", "rejected": 0, "rejections": [], "reasons": {}, "duplicate": False},
        {"accepted": 1, "rejected": 0, "rejections": [1], "reasons": {}, "duplicate": False},
        {"accepted": 1, "rejected": 0, "rejections": [], "reasons": [], "duplicate": False},
        {"accepted": 1, "rejected": 0, "rejections": [], "reasons": {"x": "y"}, "duplicate": False},
        {"accepted": 1e999, "rejected": 0, "rejections": [], "reasons": {}, "duplicate": False},
    ],
)
def test_answers_to_batches_that_are_none(body):
    with pytest.raises(UnexpectedAnswer):
        parse_report(body)


def test_the_text_of_an_error_is_bounded_and_its_messages_are_whole():
    error = make_error(400, {}, body=b'{"errors": ["' + b"x" * 100_000 + b'"]}')
    assert isinstance(error, BadRequest)
    assert len(error.messages[0]) == 100_000
    assert len(str(error)) < 1000
