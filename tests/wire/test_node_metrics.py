"""Metrics and readiness of each node: on a cluster, every server has its own figures.

With one node, its figures are those of the whole server.
"""

import pytest
import requests

from support.calls import Client, question, sign_as_user
from support.metered import Metered
from support.ports import HOST
from support.waiting import PATIENCE_S, wait_for

ENDPOINT = "/insights/engagement/totals"
EVENT = {"tweet_id": "111", "type": "replies", "at": "2026-11-20T10:00:00Z"}
EACH = 5  # requests to each node


@pytest.fixture(scope="module")
def metered(world):
    with Metered(world, workers=2) as server:
        yield server


def counts(server, name="http_requests_total", **labels):
    return [scraped.sum(name, **labels) for scraped in server.scrape_nodes()]


def test_requests_are_counted_by_the_node_that_answered(metered):
    before = counts(metered, endpoint=ENDPOINT)
    assert len(before) == len(metered.node_ports)
    for port in metered.node_ports:
        client = Client(f"http://{HOST}:{port}")
        for _ in range(EACH):
            answer = client.ask("totals", question("111"), sign_as_user(metered.world.main))
            assert answer.status == 200
        client.close()
    expected = [count + EACH for count in before]
    wait_for(lambda: counts(metered, endpoint=ENDPOINT) == expected)


def test_a_batch_is_counted_once_by_all_nodes_together(metered):
    labels = {"kind": "events", "result": "accepted"}
    before = sum(counts(metered, "records_total", **labels))
    answer = metered.client.platform("POST", "events", metered.world.platform_key, body=[EVENT])
    assert answer.status == 200
    wait_for(lambda: sum(counts(metered, "records_total", **labels)) == before + 1)


def test_every_node_has_the_same_figures_of_the_stores(metered):
    names = ("tweets", "apps", "accounts", "platform_keys")

    def figures(scraped):
        return [scraped.sum("items", item=name) for name in names]

    wait_for(lambda: all(all(figures(scraped)) for scraped in metered.scrape_nodes()))
    first, *others = [figures(scraped) for scraped in metered.scrape_nodes()]
    assert all(each == first for each in others)
    for scraped in metered.scrape_nodes():
        assert scraped.sum("processes", process="worker") == metered.workers
        assert scraped.sum("fault") == 0


def test_every_node_is_ready(metered):
    for port in metered.node_ports:
        answer = requests.get(f"http://{HOST}:{port}/readyz", timeout=PATIENCE_S)
        body = answer.json()
        assert (answer.status_code, body["status"]) == (200, "ready"), body
        assert set(body["checks"].values()) == {"ok"}
