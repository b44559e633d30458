"""Fixtures of the wire tests."""

from support.fixtures import server, servers, world

__all__ = ["server", "servers", "world"]
