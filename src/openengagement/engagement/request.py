"""Parse the body of a request into a typed request, and check every limit."""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from openengagement.engagement.access import ACCESS, AGE_ARRAYS, AccessRule
from openengagement.engagement.types import Dimension, Endpoint, parse_id, parse_plain_ids
from openengagement.engagement.window import Window, parse_window
from openengagement.errors import InvalidField, MalformedBody, UnsupportedGroupBys, UnsupportedTypes

TWEET_IDS_MAX: Final = {Endpoint.TOTALS: 250, Endpoint.LAST_28_HOURS: 25, Endpoint.HISTORICAL: 25}
RESERVED_NAMES: Final = frozenset({"start", "end", "errors", "unavailable_tweet_ids", *AGE_ARRAYS})
_FOUR_ITEM_ORDERS: Final = (
    (Dimension.TWEET, Dimension.TYPE, Dimension.DAY, Dimension.HOUR),
    (Dimension.TYPE, Dimension.TWEET, Dimension.DAY, Dimension.HOUR),
)


class InsightsRequest(msgspec.Struct, frozen=True):
    """A valid request.

    `tweet_ids` has each id once, in the order of the request. `types` maps the requested types to
    their rules. `groupings` maps names to their `group_by`. `window` is None on `/totals`.
    """

    endpoint: Endpoint
    tweet_ids: tuple[int, ...]
    types: Mapping[str, AccessRule]
    groupings: Mapping[str, tuple[Dimension, ...]]
    window: Window | None

    @property
    def cells(self) -> int:
        """The number of counters that the answer is computed from."""
        hours = 1 if self.window is None else self.window.hours
        return len(self.tweet_ids) * len(self.types) * hours


class Grouping(msgspec.Struct):
    """A grouping as it is sent."""

    group_by: list[str] | None = None


class RequestBody(msgspec.Struct):
    """A body as it is sent, without a window.

    Its `start` and `end` are ignored, so they may have any type.
    """

    tweet_ids: list[str | int] | None = None
    engagement_types: list[str] | None = None
    groupings: dict[str, Grouping] | None = None


class WindowBody(RequestBody):
    """The body of `/historical` as it is sent."""

    start: str | None = None
    end: str | None = None


_DECODER: Final = msgspec.json.Decoder(RequestBody)
_WINDOW_DECODER: Final = msgspec.json.Decoder(WindowBody)


def parse_request(
    endpoint: Endpoint, body: bytes, *, now_s: float, floor_s: int, groupings_max: int
) -> InsightsRequest:
    """Parse a request body (api.md 1.1 to 1.3).

    `floor_s` is the oldest start of a window, in Unix seconds.

    Raises:
        MalformedBody: the body is not JSON, or a field has the wrong type.
        InvalidField, UnsupportedTypes, UnsupportedGroupBys: a field breaks a rule.
    """
    raw = _decode(endpoint, body)
    fields = (raw.tweet_ids, raw.engagement_types, raw.groupings)
    names = ("tweet_ids", "engagement_types", "groupings")
    if missing := [name for name, value in zip(names, fields, strict=True) if value is None]:
        raise InvalidField(*(f"{name}: field is required" for name in missing))
    tweet_ids = _parse_tweet_ids(raw.tweet_ids or [], TWEET_IDS_MAX[endpoint])
    types = _parse_types(endpoint, raw.engagement_types or [])
    groupings = _parse_groupings(endpoint, raw.groupings or {}, groupings_max=groupings_max)
    start, end = (raw.start, raw.end) if isinstance(raw, WindowBody) else (None, None)
    window = parse_window(endpoint, start, end=end, now_s=now_s, floor_s=floor_s)
    return InsightsRequest(endpoint, tweet_ids, types, groupings, window)


def _decode(endpoint: Endpoint, body: bytes) -> RequestBody:
    body = body.removeprefix(BOM_UTF8)  # RFC 8259, 8.1
    try:
        if not body.isascii():
            body.decode()  # the decoder skips unknown fields without checking their UTF-8
        return (_WINDOW_DECODER if endpoint is Endpoint.HISTORICAL else _DECODER).decode(body)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        raise MalformedBody(f"{place.strip('`.') or 'body'}: {reason}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"The request body is not valid JSON: {error}") from None
    except (RecursionError, ValueError, OverflowError):
        raise MalformedBody("The request body nests too deep or holds too long a number") from None


def _parse_tweet_ids(values: Sequence[str | int], limit: int) -> tuple[int, ...]:
    if not values:
        raise InvalidField("tweet_ids: must hold at least one Tweet ID")
    if len(values) > limit:
        raise InvalidField(f"tweet_ids: holds {len(values)} Tweet IDs, at most {limit} are allowed")
    if plain := parse_plain_ids(values):
        return plain
    ids: dict[int, None] = {}
    for value in values:
        try:
            # Tools that read ids from a file send each one with its line end (api.md 1.5).
            ids[parse_id(value.strip() if isinstance(value, str) else value)] = None
        except ValueError as error:
            raise InvalidField(f"tweet_ids: {str(value)[:40]!r} {error}") from None
    return tuple(ids)


def _parse_types(endpoint: Endpoint, names: Sequence[str]) -> dict[str, AccessRule]:
    if not names:
        raise InvalidField("engagement_types: must hold at least one engagement type")
    served = ACCESS[endpoint]
    if unknown := [name for name in dict.fromkeys(names) if name not in served]:
        raise UnsupportedTypes([name[:40] for name in unknown[:20]])
    return {name: served[name] for name in names}


def _parse_groupings(
    endpoint: Endpoint, groupings: Mapping[str, Grouping], *, groupings_max: int
) -> dict[str, tuple[Dimension, ...]]:
    if not groupings:
        raise InvalidField("groupings: must hold at least one grouping")
    if len(groupings) > groupings_max:
        error = InvalidField(
            f"groupings: holds {len(groupings)} groupings, at most {groupings_max} are allowed"
        )
        error.add_note("OPENENGAGEMENT_GROUPINGS_MAX allows up to 10 groupings.")
        raise error
    parsed = {
        name: _parse_group_by(endpoint, name, values=grouping.group_by)
        for name, grouping in groupings.items()
    }
    if sum(len(group_by) == len(Dimension) for group_by in parsed.values()) > 1:
        raise InvalidField("groupings: at most one grouping may have four group_by values")
    return parsed


def _parse_group_by(
    endpoint: Endpoint, name: str, *, values: Sequence[str] | None
) -> tuple[Dimension, ...]:
    if name in RESERVED_NAMES:
        raise InvalidField(f"groupings: {name!r} is a name the answer itself uses")
    label = f"groupings.{name[:80]}.group_by"
    if values is None:
        raise InvalidField(f"{label}: field is required")
    if not values:
        raise InvalidField(f"{label}: must hold at least one value")
    served = tuple(Dimension) if endpoint.timed else (Dimension.TWEET, Dimension.TYPE)
    # Twitter's "Getting started" page writes "Tweet.id" (api.md 1.5).
    lowered = [value.lower() for value in values]
    if unknown := [value for value in lowered if value not in served]:
        raise UnsupportedGroupBys([value[:40] for value in unknown[:20]])
    group_by = tuple(Dimension(value) for value in lowered)
    if len(set(group_by)) < len(group_by):
        raise InvalidField(f"{label}: holds a value twice")
    if len(group_by) == len(Dimension) and group_by not in _FOUR_ITEM_ORDERS:
        allowed = " or ".join(f"[{', '.join(order)}]" for order in _FOUR_ITEM_ORDERS)
        raise InvalidField(f"{label}: four values are only allowed in the order {allowed}")
    return group_by
