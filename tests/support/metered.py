"""A server whose metrics are on, and its scrapes."""

import json
import re

import requests

from support.ports import HOST, free_port
from support.server import Server
from support.waiting import PATIENCE_S

_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, labels, value = _SAMPLE.fullmatch(line).groups()
                key = name.removeprefix("openengagement_"), frozenset(_LABEL.findall(labels or ""))
                assert key not in self.samples
                self.samples[key] = float(value)

    def sum(self, name, **labels):
        """Add up the samples of this name with these labels."""
        wanted = set(labels.items())
        return sum(
            value
            for (found, pairs), value in self.samples.items()
            if found == name and wanted <= pairs
        )

    def values(self, name, label):
        """The values of a label."""
        return {dict(pairs)[label] for found, pairs in self.samples if found == name}


class Metered(Server):
    """A server whose metrics are on."""

    def __init__(self, world, **options):
        self.metrics_port = free_port()
        settings = {"metrics": f"{HOST}:{self.metrics_port}", **options.pop("settings", {})}
        super().__init__(world, settings=settings, **options)

    def scrape(self):
        """Scrape the first node."""
        return self.scrape_at(f"http://{HOST}:{self.metrics_port}/metrics")

    def scrape_nodes(self):
        """Scrape every node."""
        return [self.scrape_at(url) for url in self.metrics_urls]

    def scrape_at(self, url):
        answer = requests.get(url, timeout=PATIENCE_S)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scraped(answer.text)

    def workers_by_pid(self):
        """The pids of the workers, as the log names them."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line["pid"] for line in lines if line["event"] == "worker_started"]
