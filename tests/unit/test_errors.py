"""The tree of errors: its picture, its names, its texts, and the order of precedence."""

import importlib
import pkgutil
import re
from itertools import pairwise

import openengagement
from openengagement import errors
from openengagement.errors import PRECEDENCE, ApiError
from support.cases import cases

# One line of the picture: a name, and optionally a status and a code.
LINE = re.compile(
    r"(?P<branch>[ │├└─]*)(?P<name>[A-Z]\w+)(?: +(?P<status>\d{3}))?(?: +(?P<code>[a-z_]+))?"
)
CLASSES = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, ApiError)
}


def read_picture():
    """Parse the picture to (name, parent, own or inherited status, code or None)."""
    rows, above = [], []
    for line in errors.__doc__.partition("::")[2].partition("The texts are")[0].splitlines():
        if not line.strip():
            continue
        match = LINE.fullmatch(line.removeprefix("    "))
        assert match, f"this line of the picture cannot be read: {line!r}"
        depth = len(match["branch"]) // 4
        del above[depth:]
        parent = above[-1][0] if above else None
        status = match["status"] or (above[-1][1] if above else None)
        above.append((match["name"], status))
        rows.append((match["name"], parent, status, match["code"]))
    return rows


PICTURE = read_picture()


def test_the_picture_shows_exactly_the_classes():
    names = [name for name, *_ in PICTURE]
    assert sorted(names) == sorted(CLASSES)


@cases(("name", "parent", "status", "code"), PICTURE, ids=[row[0] for row in PICTURE])
def test_the_picture_shows_parent_status_and_code(name, parent, status, code):
    cls = CLASSES[name]
    if parent is not None:
        assert cls.__bases__ == (CLASSES[parent],)
    if status is not None:
        assert cls.status == int(status)
    if code is not None:
        assert cls.code == code


def test_every_leaf_shows_its_code_in_the_picture():
    parents = {parent for _, parent, *_ in PICTURE}
    assert [name for name, _, _, code in PICTURE if code is None and name not in parents] == []


def test_no_error_is_defined_elsewhere():
    for module in pkgutil.walk_packages(openengagement.__path__, "openengagement."):
        if "__main__" not in module.name and ".migrations" not in module.name:
            importlib.import_module(module.name)

    def below(cls):
        return {cls}.union(*(below(each) for each in cls.__subclasses__()))

    ours = {each for each in below(ApiError) if each.__module__.startswith("openengagement.")}
    assert sorted(each.__qualname__ for each in ours - set(CLASSES.values())) == []


def test_every_class_has_a_docstring():
    assert [name for name, each in CLASSES.items() if not each.__doc__] == []


def test_codes_are_unique_and_in_snake_case():
    codes = [each.code for name, each in CLASSES.items() if name != "ApiError"]
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)
    assert len(codes) == len(set(codes))


def test_only_the_base_shares_the_code_of_an_internal_error():
    assert {name for name, each in CLASSES.items() if each.code == "internal_error"} == {
        "ApiError", "InternalError"
    }  # fmt: skip


# From api.md 3.3, 3.4 and 4.8, by hand.
NOT_AUTHENTICATED = "Your account could not be authenticated. Reason: "
ADJUST = ". Please adjust your request and try again."
GZIP = (
    "This request requires gzip compression. Retry the request after setting 'Accept-Encoding' "
    "header in the request to 'gzip'."
)
NO_SUCH_GROUP_BYS = "One or more of the groupBys you have specified are not supported: "
NO_SUCH_TYPES = "One or more of the engagement types you have specified are not supported: "


@cases(
    ("error", "status", "text"),
    [
        (errors.GzipRequired(), 406, GZIP),
        (errors.UnknownAuthorization(), 401, NOT_AUTHENTICATED + "Unknown Authorization Type"),
        (errors.AccessTokenNotFound(), 401, NOT_AUTHENTICATED + "Access token not found"),
        (errors.ConsumerKeyNotFound(), 401, NOT_AUTHENTICATED + "Consumer key not found"),
        (errors.BearerTokenNotFound(), 401, NOT_AUTHENTICATED + "Bearer token not found"),
        (errors.InvalidSignature(), 401, NOT_AUTHENTICATED + "Invalid signature"),
        (errors.TimestampOutOfBounds(), 401, NOT_AUTHENTICATED + "Timestamp out of bounds"),
        (errors.NonceUsed(), 401, NOT_AUTHENTICATED + "Nonce already used"),
        (
            errors.MalformedAuthorization("no nonce"),
            401,
            NOT_AUTHENTICATED + "Malformed authorization: no nonce",
        ),
        (errors.SslRequired(), 403, "SSL is required"),
        (errors.AppNotEnabled(), 403, "Your application ID is not authorized."),
        (errors.ForbiddenMetrics(["a", "b"]), 403, "Forbidden to access metrics: a, b"),
        (errors.UnsupportedGroupBys(["a"]), 400, NO_SUCH_GROUP_BYS + "(a)" + ADJUST),
        (errors.UnsupportedTypes(["a", "b"]), 400, NO_SUCH_TYPES + "(a, b)" + ADJUST),
        (errors.TweetsUnavailable(["3", "4"]), 400, "2 Tweet ID(s) are unavailable"),
        (errors.RateLimited(), 429, "Rate limit exceeded"),
        (errors.InternalError(), 500, "internal server error"),
        (errors.Unavailable("try later"), 503, "try later"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ApiError) else "",
)
def test_errors_have_the_texts_of_the_wire(error, status, text):
    assert (error.status, error.texts) == (status, (text,))


def test_errors_contain_the_texts_that_a_real_client_searches_for():
    assert "your application id is not authorized." in errors.AppNotEnabled().texts[0].lower()
    assert "rate limit" in errors.RateLimited().texts[0].lower()


def test_unavailable_tweets_are_listed():
    assert errors.TweetsUnavailable(["3", "4"]).arrays == {"unavailable_tweet_ids": ["3", "4"]}


def test_an_unavailable_server_says_when_to_retry():
    assert errors.Unavailable("x", retry_after_s=7).headers == {"retry-after": "7"}
    assert errors.Unavailable("x").headers == {"retry-after": "1"}


def test_an_error_keeps_its_texts_arrays_and_headers():
    error = errors.InvalidField("a: b", "c: d", arrays={"x": ["1"]}, headers={"allow": "GET"})
    assert error.texts == ("a: b", "c: d")
    assert (error.arrays, error.headers) == ({"x": ["1"]}, {"allow": "GET"})
    assert (errors.NotFound().texts, errors.NotFound().arrays, errors.NotFound().headers) == (
        (),
        {},
        {},
    )


# --- precedence ----------------------------------------------------------------------------------

# api.md 3.4: route, method, gzip, credentials, app approved, rate limit, JSON, fields and limits,
# availability, ownership, metric rights and age.
WIRE_ORDER = [
    {"NotFound"},
    {"MethodNotAllowed"},
    {"GzipRequired"},
    {"AuthenticationError"},
    {"AppNotEnabled"},
    {"RateLimited"},
    {"MalformedBody"},
    {"InvalidField", "UnsupportedTypes", "UnsupportedGroupBys"},
    {"TweetsUnavailable"},
    {"ForbiddenTweets"},
    {"ForbiddenMetrics", "TweetsTooOld"},
]
# Errors that the data API does not answer with, or that no request causes.
ELSEWHERE = {
    "AllRejected",
    "BatchRefused",
    "ScopeMissing",
    "CallbackNotApproved",
    "KeyReused",
    "PlatformKeyNotFound",
    "UnverifiedClient",
    "UserContextRequired",
    "InternalError",
    "Unavailable",
    "StoreUnavailable",
    "StoreDamaged",
}


def test_the_precedence_is_that_of_the_contract():
    places = {each.__name__: index for index, each in enumerate(PRECEDENCE)}
    for earlier, later in pairwise(WIRE_ORDER):
        assert max(places[name] for name in earlier) < min(places[name] for name in later)


def test_the_precedence_has_each_error_of_the_data_api_once():
    assert len(PRECEDENCE) == len(set(PRECEDENCE))
    parents = {each for cls in CLASSES.values() for each in cls.__bases__}
    missing = {
        name
        for name, cls in CLASSES.items()
        if cls not in parents and name not in ELSEWHERE and not issubclass(cls, PRECEDENCE)
    }
    assert missing == set()


def test_no_entry_of_the_precedence_hides_another():
    for index, earlier in enumerate(PRECEDENCE):
        assert not [later for later in PRECEDENCE[index + 1 :] if issubclass(later, earlier)]


def test_every_authentication_error_has_one_place():
    kinds = [cls for cls in CLASSES.values() if issubclass(cls, errors.AuthenticationError)]
    assert all(sum(issubclass(cls, each) for each in PRECEDENCE) == 1 for cls in kinds)
