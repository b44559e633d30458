"""Fixtures of the wire tests."""

import pytest

from support.api_document import answers_checked
from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]


@pytest.fixture(scope="session", autouse=True)
def answers_conform():
    """Every answer in these tests is one that the OpenAPI document describes."""
    with answers_checked():
        yield
