"""Modules that need optional dependencies."""

from importlib import import_module
from types import ModuleType

from openengagement.files import UnusableFile


def import_postgresql(name: str) -> ModuleType:
    """Import a module that uses the driver of PostgreSQL.

    Raises:
        UnusableFile: the driver is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in {"psycopg", "psycopg_pool"}:
            raise
        raise UnusableFile(
            "the driver of PostgreSQL is not installed: pip install 'openengagement[cluster]'"
        ) from None


def import_log(name: str, *, extra: str) -> ModuleType:
    """Import a module that uses the client library of an event log.

    Raises:
        UnusableFile: the library is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"nats", "confluent_kafka"}:
            raise
        raise UnusableFile(
            "the client library of this log is not installed: "
            f"pip install 'openengagement[{extra}]'"
        ) from None
