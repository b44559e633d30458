"""The time zone of a page: the reader's, or UTC by choice.

A script tells the reader's zone in a cookie. The parameter `zone` of a URL overrides it, so a link
with it shows the same days to everybody.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from openengagement.language.current import gettext as _

COOKIE: Final = "zone"
PARAMETER: Final = "zone"
UTC_NAME: Final = "UTC"
_NAME: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone. `local` is the reader's zone, empty if it is unknown or the same."""

    name: str
    rules: tzinfo
    chosen: bool = False  # by the URL
    local: str = ""

    @property
    def is_utc(self) -> bool:
        """Whether times need no other name than UTC."""
        return self.rules is UTC

    def at(self, time_s: float) -> datetime:
        """Return the local time of a time in Unix seconds."""
        return datetime.fromtimestamp(time_s, self.rules)

    @property
    def suffix(self) -> str:
        """Follow a time of day with this text: local times have none."""
        return " UTC" if self.is_utc else ""


UTC_ZONE: Final = Zone(UTC_NAME, UTC)


def read_zone(query: Mapping[str, str], cookies: Mapping[str, str]) -> Zone:
    """Read the zone of a page. An unknown name counts as not given."""
    given, told = query.get(PARAMETER, ""), cookies.get(COOKIE, "").replace("%2F", "/")
    local, chosen = _find(told), _find(given)
    found = chosen or local or UTC
    name = given if chosen else told if local else UTC_NAME
    other = told if local is not None and local is not found else ""
    return Zone(name, found, chosen is not None, other)


def describe_other(zone: Zone, view: Mapping[str, str], *, path: str) -> dict[str, str] | None:
    """Describe the link to the other zone, UTC or the reader's; None if there is only one."""
    kept = {name: value for name, value in view.items() if name != PARAMETER}
    if zone.chosen and zone.local:
        return {"label": _("Your time"), "href": f"{path}?{urlencode(kept)}"}
    if zone.is_utc:
        return None
    return {"label": UTC_NAME, "href": f"{path}?{urlencode({**kept, PARAMETER: UTC_NAME})}"}


@lru_cache(maxsize=1024)
def _find(name: str) -> tzinfo | None:
    """Return the rules of a zone by its IANA name; None if the system does not know it."""
    if name in {UTC_NAME, "Etc/UTC"}:
        return UTC
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found, or a folder of zones
        return None
