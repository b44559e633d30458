"""Shared memory in which a test counts, alone or with processes of its own."""

import os

import pytest

from openengagement.metrics import metric
from openengagement.metrics.cells import Board, create
from openengagement.metrics.exposition import render


@pytest.fixture
def path():
    """The path of new shared memory. This process counts for itself again after the test."""
    file, path = create()
    yield path
    metric._forget()
    os.close(file)


@pytest.fixture
def scrape(path):
    """Read the samples of the shared memory: their text -> value."""

    def read():
        lines = render(Board(path).read()).splitlines()
        pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
        return {name: float(value) for name, _, value in pairs}

    return read
