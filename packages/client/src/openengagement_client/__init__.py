"""Client for servers that speak the wire of Twitter's Engagement API.

The names below are imported when they are first used: the server of Open Engagement imports the
signature module of this package and nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openengagement_client.async_client import AsyncEngagementClient
    from openengagement_client.async_event_sender import AsyncEventSender
    from openengagement_client.async_platform_client import AsyncPlatformClient
    from openengagement_client.batches import Batch, BatchLimits
    from openengagement_client.client import EngagementClient
    from openengagement_client.credentials import Credentials, Profile, load_profile
    from openengagement_client.errors import (
        ApiError,
        BadRequest,
        ConfigurationError,
        EngagementError,
        Forbidden,
        ForbiddenMetrics,
        ForbiddenTweets,
        GzipRequired,
        InvalidQuery,
        NotFound,
        RateLimited,
        ServerError,
        TransportError,
        Unauthorized,
        UnexpectedAnswer,
    )
    from openengagement_client.event_sender import EventSender
    from openengagement_client.platform_client import PlatformClient
    from openengagement_client.queries import (
        Query,
        historical_query,
        last_28_hours_query,
        totals_query,
    )
    from openengagement_client.rate_limits import RateLimit
    from openengagement_client.reports import BatchReport, Rejection, SendReport
    from openengagement_client.results import Result, Row
    from openengagement_client.retry_policy import RetryPolicy
    from openengagement_client.transport import Options
    from openengagement_client.writing import Summary

_MODULES = {
    "async_client": ("AsyncEngagementClient",),
    "async_event_sender": ("AsyncEventSender",),
    "async_platform_client": ("AsyncPlatformClient",),
    "batches": ("Batch", "BatchLimits"),
    "client": ("EngagementClient",),
    "credentials": ("Credentials", "Profile", "load_profile"),
    "errors": (
        "ApiError",
        "BadRequest",
        "ConfigurationError",
        "EngagementError",
        "Forbidden",
        "ForbiddenMetrics",
        "ForbiddenTweets",
        "GzipRequired",
        "InvalidQuery",
        "NotFound",
        "RateLimited",
        "ServerError",
        "TransportError",
        "Unauthorized",
        "UnexpectedAnswer",
    ),
    "event_sender": ("EventSender",),
    "platform_client": ("PlatformClient",),
    "queries": ("Query", "historical_query", "last_28_hours_query", "totals_query"),
    "rate_limits": ("RateLimit",),
    "reports": ("BatchReport", "Rejection", "SendReport"),
    "results": ("Result", "Row"),
    "retry_policy": ("RetryPolicy",),
    "transport": ("Options",),
    "writing": ("Summary",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ApiError",
    "AsyncEngagementClient",
    "AsyncEventSender",
    "AsyncPlatformClient",
    "BadRequest",
    "Batch",
    "BatchLimits",
    "BatchReport",
    "ConfigurationError",
    "Credentials",
    "EngagementClient",
    "EngagementError",
    "EventSender",
    "Forbidden",
    "ForbiddenMetrics",
    "ForbiddenTweets",
    "GzipRequired",
    "InvalidQuery",
    "NotFound",
    "Options",
    "PlatformClient",
    "Profile",
    "Query",
    "RateLimit",
    "RateLimited",
    "Rejection",
    "Result",
    "RetryPolicy",
    "Row",
    "SendReport",
    "ServerError",
    "Summary",
    "TransportError",
    "Unauthorized",
    "UnexpectedAnswer",
    "historical_query",
    "last_28_hours_query",
    "load_profile",
    "totals_query",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
