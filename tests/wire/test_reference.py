"""`/openapi.json` and `/docs`, as a server sends them."""

import html
import json
import re
from importlib.metadata import version

import pytest

from support.api_document import read_document
from support.calls import Client


@pytest.fixture
def page(server):
    answer = server.client.send("GET", "/docs")
    assert answer.status == 200
    return answer


def test_the_document_is_that_of_the_tables(server):
    answer = server.client.send("GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "application/json;charset=utf-8",
    )
    assert answer.json() == read_document()
    assert answer.json()["info"]["version"] == version("openengagement")


def test_the_document_follows_the_settings(servers):
    document = servers(groupings_max="7").client.send("GET", "/openapi.json").json()
    for name in ("TotalsRequest", "Last28HoursRequest", "HistoricalRequest"):
        groupings = document["components"]["schemas"][name]["properties"]["groupings"]
        assert groupings["maxProperties"] == 7


def test_the_page_shows_every_call_with_its_examples(page):
    text = html.unescape(page.body.decode())
    for path, methods in read_document()["paths"].items():
        for method, operation in methods.items():
            assert f"<b>{method.upper()}</b> {path}" in text
            assert f'id="{operation["operationId"]}"' in text
            for sample in operation.get("x-codeSamples", []):
                assert sample["source"] in text


def test_the_page_shows_fields_and_refusals(page):
    text = page.body.decode()
    for word in ("tweet_ids", "1 to 250 items", "quote_tweets", "nonce_used", "Idempotency-Key"):
        assert word in text


def test_the_page_loads_nothing_from_elsewhere(page):
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert re.findall(r"""(?:src|href)=["'](?!/|#)[^"']*""", page.body.decode()) == []
    assert "<script>" not in page.body.decode()
    assert " style=" not in page.body.decode()


def test_a_stranger_over_plain_http_is_refused_as_everywhere(servers):
    client: Client = servers(trusted_proxies="127.0.0.1/32").client
    away = {"X-Forwarded-For": "203.0.113.9"}
    for path in ("/openapi.json", "/docs"):
        assert client.send("GET", path, headers=away).status == 403


def test_other_methods_are_refused(server):
    answer = server.client.send("POST", "/openapi.json", body="{}")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert json.loads(answer.body)["errors"][0]["code"] == 131
