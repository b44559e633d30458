"""Errors as each family of routes renders them (api.md 3.4, 4.7, 4.8)."""

import json

import pytest

from openengagement import errors
from openengagement.api.error_body import Family, render_error
from support.cases import cases

DATA, OAUTH, PLATFORM = Family.DATA, Family.OAUTH, Family.PLATFORM
SAMPLES = [
    errors.MalformedBody("body: Expected `object`, got `array`"),
    errors.InvalidField("tweet_ids: field is required", "groupings: field is required"),
    errors.UnsupportedTypes(["likes"]),
    errors.UnsupportedGroupBys(["engagement.hour"]),
    errors.TweetsUnavailable(("3", "4")),
    errors.TweetsTooOld("too old", arrays={"unsupported_for_video_views_tweet_ids": ("5",)}),
    errors.GzipRequired(),
    errors.BodyTooLarge("body: is larger than 5 bytes"),
    errors.UnsupportedBody("Content-Encoding: use gzip, zstd or none"),
    errors.WrongHost("Host: is not one of this server's names"),
    errors.BodyTooSlow("body: was not whole within 60 s"),
    errors.BatchRefused(2, details={"accepted": 0, "rejected": 2}),
    errors.KeyReused(),
    errors.AllRejected(2, details={"accepted": 0, "rejected": 2}),
    errors.HeadersTooLarge("headers: together they are larger than 5 bytes"),
    errors.RequestError("body: its compressed data is cut short"),
    errors.UnknownAuthorization(),
    errors.MalformedAuthorization("oauth_nonce is missing"),
    errors.UnsupportedSignature(),
    errors.ConsumerKeyNotFound(),
    errors.AccessTokenNotFound(),
    errors.BearerTokenNotFound(),
    errors.PlatformKeyNotFound(),
    errors.PlatformKeyExpired(),
    errors.TimestampOutOfBounds(),
    errors.InvalidSignature(),
    errors.NonceUsed(),
    errors.UnverifiedClient(),
    errors.AppSuspended(),
    errors.DesktopAppsOnlyPin(),
    errors.CallbackNotApproved(),
    errors.UserContextRequired(),
    errors.ScopeMissing("usage"),
    errors.SslRequired(),
    errors.AppNotEnabled(),
    errors.ForbiddenTweets("Forbidden to access tweets: 1", "and more"),
    errors.ForbiddenMetrics(["impressions"]),
    errors.NotFound(),
    errors.NotFound("tweet: is not registered"),
    errors.MethodNotAllowed("Method not allowed", headers={"allow": "POST"}),
    errors.RateLimited(),
    errors.InternalError(),
    errors.Unavailable("busy; try again", retry_after_s=3),
    errors.StoreUnavailable("embedded", "the disk is full"),
    errors.StoreDamaged("embedded", "counters.sqlite3", reason="a page is malformed"),
]
# `oauth/access_token` answers these as plain text.
PLAIN = [errors.RequestTokenMissing(), errors.RequestTokenNotFound(), errors.InvalidVerifier()]
SAMPLES_AND_PLAIN = SAMPLES + PLAIN
NOT_STRINGS = (errors.NotFound, errors.MethodNotAllowed)


def name_of(value):
    if isinstance(value, errors.ApiError):
        return type(value).__name__ + ("" if value.texts else " without text")
    return value.name if isinstance(value, Family) else None


def render(error, family, *, method="POST", path="/insights/engagement/totals"):
    return render_error(error, family, method=method, path=path)


def oauth(error):
    """Return the status, the only entry and the headers."""
    reply = render(error, OAUTH, path="/oauth2/token")
    body = json.loads(reply.body)
    assert list(body) == ["errors"]
    (entry,) = body["errors"]
    return reply.status, entry, reply.headers


def test_every_error_class_has_a_sample():
    parents = {
        parent
        for each in vars(errors).values()
        if isinstance(each, type)
        for parent in each.__bases__
    }
    leaves = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ApiError) and each not in parents
    }
    assert {cls.__name__ for cls in leaves} == {
        type(each).__name__ for each in SAMPLES_AND_PLAIN if type(each) in leaves
    }


# --- every refusal, every family -----------------------------------------------------------------


@cases("error", SAMPLES, ids=name_of)
def test_every_error_sends_its_code_and_its_headers(error):
    for family in Family:
        reply = render(error, family)
        assert reply.headers["x-error-code"] == error.code
        assert reply.headers.items() >= dict(error.headers).items()
        assert all(name == name.lower() for name in reply.headers)


@cases("error", SAMPLES, ids=name_of)
def test_outside_oauth_the_status_is_that_of_the_error_without_a_challenge(error):
    for family in (DATA, PLATFORM):
        assert render(error, family).status == error.status
        assert "www-authenticate" not in render(error, family).headers


@cases("error", [each for each in SAMPLES if not isinstance(each, NOT_STRINGS)], ids=name_of)
def test_outside_oauth_errors_are_strings_with_arrays_of_ids(error):
    arrays = {name: list(ids) for name, ids in error.arrays.items()}
    for family in (DATA, PLATFORM):
        reply = render(error, family)
        assert reply.headers["content-type"].startswith("application/json")
        assert json.loads(reply.body) == {
            "errors": list(error.texts),
            **arrays,
            **error.details,
        }
        assert next(iter(json.loads(reply.body))) == "errors"


@cases("error", SAMPLES, ids=name_of)
def test_oauth_errors_are_one_object_with_code_and_message(error):
    status, entry, headers = oauth(error)
    assert 400 <= status < 600
    assert isinstance(entry["code"], int)
    assert entry["message"]
    assert headers["content-type"].startswith("application/json")
    if status == 401:
        assert headers["www-authenticate"] == (
            f'OAuth realm="https://api.twitter.com", api_error_code={entry["code"]}'
        )
    else:
        assert "www-authenticate" not in headers


@cases("error", SAMPLES, ids=name_of)
def test_rendering_an_error_does_not_change_it(error):
    before = (error.texts, dict(error.arrays), dict(error.headers))
    for family in Family:
        render(error, family)
    assert (error.texts, dict(error.arrays), dict(error.headers)) == before


# --- the codes of api.md 4.8 -------------------------------------------------------------------


@cases(
    ("error", "status", "code", "message"),
    [
        (errors.ConsumerKeyNotFound(), 401, 32, "Could not authenticate you."),
        (errors.InvalidSignature(), 401, 32, "Could not authenticate you."),
        (errors.UnsupportedSignature(), 401, 32, "Could not authenticate you."),
        (errors.NonceUsed(), 401, 32, "Could not authenticate you."),
        (errors.MalformedAuthorization("x"), 401, 32, "Could not authenticate you."),
        (errors.NotFound(), 404, 34, "Sorry, that page does not exist"),
        (errors.RateLimited(), 429, 88, "Rate limit exceeded"),
        (errors.AccessTokenNotFound(), 401, 89, "Invalid or expired token."),
        (errors.BearerTokenNotFound(), 401, 89, "Invalid or expired token."),
        (errors.SslRequired(), 403, 92, "SSL is required"),
        (errors.UnverifiedClient(), 403, 99, "Unable to verify your credentials"),
        (errors.TimestampOutOfBounds(), 401, 135, "Timestamp out of bounds."),
        (errors.UnknownAuthorization(), 400, 215, "Bad Authentication data."),
        (
            errors.UserContextRequired(),
            403,
            220,
            "Your credentials do not allow access to this resource",
        ),
        (
            errors.CallbackNotApproved(),
            403,
            415,
            (
                "Callback URL not approved for this client application. "
                "Approved callback URLs can be adjusted in your application settings"
            ),
        ),
        (errors.AppSuspended(), 401, 416, "Invalid / suspended application"),
        (
            errors.DesktopAppsOnlyPin(),
            401,
            417,
            "Desktop applications only support the oauth_callback value 'oob'",
        ),
    ],
    ids=name_of,
)
def test_oauth_errors_have_their_numeric_code(error, status, code, message):
    got, entry, _ = oauth(error)
    assert (got, entry["code"], entry["message"]) == (status, code, message)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.InvalidVerifier(),
            "Error processing your OAuth request: Invalid oauth_verifier parameter",
        ),
        (errors.RequestTokenMissing(), "Request token missing"),
        (errors.RequestTokenNotFound(), "Invalid request token."),
    ],
    ids=name_of,
)
def test_the_access_token_call_refuses_in_plain_text(error, text):
    reply = render(error, OAUTH, path="/oauth/access_token")
    assert (reply.status, reply.body.decode()) == (401, text)
    assert reply.headers["content-type"] == "text/html;charset=utf-8"
    assert reply.headers["www-authenticate"] == 'OAuth realm="https://api.twitter.com"'


def test_invalid_app_credentials_have_a_label():
    _, entry, _ = oauth(errors.UnverifiedClient())
    assert entry == {
        "code": 99,
        "label": "authenticity_token_error",
        "message": "Unable to verify your credentials",
    }  # fmt: skip


def test_oauth_authentication_errors_do_not_name_the_failed_check():
    for error in SAMPLES:
        if isinstance(error, errors.AuthenticationError):
            assert "Reason" not in oauth(error)[1]["message"]


@cases(
    ("error", "status"),
    [
        (errors.InternalError(), 500),
        (errors.Unavailable("busy"), 503),
        (errors.MethodNotAllowed("Method not allowed"), 405),
        (errors.RequestError("body: its compressed data is cut short"), 400),
        (errors.BodyTooLarge("body: is larger than 5 bytes"), 413),
        (errors.UnsupportedBody("Content-Encoding: use gzip"), 415),
    ],
    ids=name_of,
)
def test_other_oauth_errors_keep_status_and_text(error, status):
    got, entry, _ = oauth(error)
    assert (got, entry["message"]) == (status, error.texts[0])


# --- the two that are no JSON --------------------------------------------------------------------


def test_an_unknown_path_of_the_data_api_is_a_404_with_an_empty_body():
    reply = render(errors.NotFound(), DATA)
    assert (reply.status, reply.body) == (404, b"")
    assert "content-type" not in reply.headers


def test_an_unknown_path_of_the_platform_api_has_an_error_text():
    reply = render(errors.NotFound(), PLATFORM, path="/platform/v1/nothing")
    assert reply.status == 404
    assert json.loads(reply.body)["errors"]


def test_a_404_with_a_reason_contains_it():
    reply = render(errors.NotFound("tweet: is not registered"), PLATFORM)
    assert json.loads(reply.body) == {"errors": ["tweet: is not registered"]}


@pytest.mark.parametrize("family", [DATA, PLATFORM])
def test_a_wrong_method_is_plain_text_with_the_allowed_methods(family):
    error = errors.MethodNotAllowed("Method not allowed", headers={"allow": "POST, PUT"})
    reply = render(error, family, method="GET", path="/insights/engagement/28hr")
    assert (reply.status, reply.body) == (
        405,
        b"GET is not allowed on path /insights/engagement/28hr",
    )
    assert reply.headers["allow"] == "POST, PUT"
    assert reply.headers["content-type"].startswith("text/plain")


def test_headers_of_an_error_are_sent():
    assert (
        render(errors.Unavailable("busy", retry_after_s=3), PLATFORM).headers["retry-after"] == "3"
    )


def test_any_error_text_is_valid_json():
    text = 'a "quoted" %s \\ é☃𝄞 \n\u2028'
    assert json.loads(render(errors.InvalidField(text), DATA).body) == {"errors": [text]}
