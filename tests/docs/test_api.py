"""The API's pages are complete: they are compared with the code that they describe."""

import json
import re
from pathlib import Path

from openengagement.api.error_body import _OAUTH_CODES, Family, render_error
from openengagement.api.routes import Calls, build_routes
from openengagement.engagement.access import ACCESS, Context
from openengagement.engagement.request import RESERVED_NAMES, TWEET_IDS_MAX
from openengagement.engagement.types import Dimension, Endpoint
from openengagement.errors import ApiError
from openengagement.ingest.rows import DropReason
from openengagement.settings import Settings
from openengagement_client.signature import base_string, base_url, sign
from support.api_examples import API_PAGES
from support.cases import cases

ROOT = Path(__file__).parents[2]
PAGE = "\n".join(page.read_text() for page in API_PAGES)
SECTIONS = set(re.findall(r"^#+ (\d+(?:\.\d+)?) ", PAGE, re.MULTILINE))
ABSTRACT = {"bad_request", "not_authenticated", "forbidden"}  # codes of classes never raised


def section(number):
    """The text of a section, its subsections included."""
    start = re.search(rf"^(#+) {re.escape(number)} ", PAGE, re.MULTILINE)
    assert start, f"api.md has no section {number}"
    end = re.compile(rf"^#{{1,{len(start[1])}}} ", re.MULTILINE).search(PAGE, start.end())
    return PAGE[start.start() : end.start() if end else len(PAGE)]


def rows(number):
    """The rows of a section's tables: the texts of their cells."""
    lines = [line for line in section(number).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def codes(text):
    return re.findall(r"`([^`]+)`", text)


def kinds(kind):
    """An error class and all its subclasses."""
    return [kind, *(each for below in kind.__subclasses__() for each in kinds(below))]


def test_every_error_code_has_its_status():
    described = {codes(code)[0]: int(status) for code, status, _ in rows("7.1")[1:]}
    assert described == {
        kind.code: kind.status for kind in kinds(ApiError) if kind.code not in ABSTRACT
    }


def test_every_numeric_code_has_status_and_message():
    described = {
        (int(code), int(status), codes(message)[0])
        for code, status, message, _ in rows("4.8")[1:]
        if status.isdecimal()
    }
    rendered = set()
    for kind in _OAUTH_CODES:
        reply = render_error(kind(), Family.OAUTH, method="POST", path="/oauth/request_token")
        entry = json.loads(reply.body)["errors"][0]
        rendered.add((entry["code"], reply.status, entry["message"]))
    assert described == rendered


def test_every_route_is_listed():
    class Handlers:
        """Stands for the handlers, which are not called."""

        def __getattr__(self, name):
            return self

    calls = Calls(**dict.fromkeys(Calls.__dataclass_fields__, Handlers()))
    routes = build_routes(calls, Handlers(), page_prefixes=()).routes
    contents = PAGE.partition("## Quick start")[0]
    for route in routes:
        assert route.method in contents
        assert route.path.removesuffix(".json") in contents, route.path


def test_every_type_has_its_access():
    words = {Context.APP_ONLY: "public", Context.USER: "owner"}

    def describe(endpoint, name):
        rule = ACCESS[endpoint].get(name)
        if rule is None:
            return "-"
        age = f", Tweets of the last {rule.age.days:,} days" if rule.age else ""
        return words[rule.context] + age

    described = {codes(name)[0]: (totals, timed) for name, totals, timed, _ in rows("2.1")[1:]}
    assert described == {
        name: (describe(Endpoint.TOTALS, name), describe(Endpoint.HISTORICAL, name))
        for name in {**ACCESS[Endpoint.TOTALS], **ACCESS[Endpoint.HISTORICAL]}
        if name != "media_clicks"  # an alias: section 1.5
    }


def test_limits_and_names_of_a_request():
    described = {codes(path)[0].rpartition("/")[2]: int(ids) for path, _, ids, _ in rows("1")[1:4]}
    assert described == {endpoint.value: limit for endpoint, limit in TWEET_IDS_MAX.items()}
    assert {codes(name)[0] for name, *_ in rows("1.2")[1:]} == {each.value for each in Dimension}
    assert set(codes(section("1.2"))) >= RESERVED_NAMES


def test_every_reason_of_a_rejection():
    described = [codes(row[0])[0] for row in rows("6.4") if row[0].startswith("`")]
    assert described == [reason.value for reason in DropReason]


def test_every_setting_exists():
    known = {field for field in dir(Settings) if not field.startswith("_")}
    named = {code.partition(" ")[0] for row in rows("0")[1:] for code in codes(row[2])}
    assert named - {"errors", "[]", "oauth"} <= known


@cases("folder", ["src", "tests", "docs", "benchmarks", "examples"])
def test_every_citation_has_a_section(folder):
    """`api.md 3.4`, `api.md 4.4 to 4.7` and `api.md 1.2, 2.3` name sections that exist."""
    pattern = re.compile(r"api\.md (\d+(?:\.\d+)?(?:(?:, | and | to )\d+\.\d+)*)")
    cited = {
        (number, str(path.relative_to(ROOT)))
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".json", ".md", ".html"} and "node_modules" not in path.parts
        for numbers in pattern.findall(path.read_text())
        for number in re.findall(r"\d+(?:\.\d+)?", numbers)
    }
    assert {(number, path) for number, path in cited if number not in SECTIONS} == set()


def test_the_vectors_of_signatures():
    values = dict((codes(name) or [name]) + codes(value) for name, value in rows("4.2")[1:8])
    protocol = [(name, value) for name, value in values.items() if name.startswith("oauth_")] + [
        ("oauth_signature_method", "HMAC-SHA1")
    ]

    def signature(url, *, without=(), more=(), token_secret=values["token secret"]):
        parameters = [pair for pair in protocol if pair[0] not in without]
        parameters += more
        scheme, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        base = base_string("POST", base_url(scheme, host, path=f"/{path}"), parameters=parameters)
        return base, sign(base, values["consumer secret"], token_secret=token_secret)

    status = [
        ("include_entities", "true"),
        ("status", "Hello Ladies + Gentlemen, a signed OAuth request!"),
    ]
    totals = "https://data-api.twitter.com/insights/engagement/totals"
    update = "https://api.twitter.com/1.1/statuses/update.json"
    base, signed = signature(totals)
    expected = [
        signature(update, more=status)[1],
        signed,
        signature(totals, without=["oauth_token"], token_secret="")[1],
        signature(totals, without=["oauth_token"], more=[("oauth_token", "")], token_secret="")[1],
    ]
    assert [codes(row[1])[0] for row in rows("4.2")[-4:]] == expected
    assert f"\n{base}\n" in section("4.2")
