"""The schemes that callback URLs may have: an allow-list that the operator sets."""

import re
from dataclasses import dataclass
from typing import Final

REVERSE_DOMAIN: Final = "reverse-domain"
# The scheme of an app on a phone, such as com.example.app (RFC 8252, 7.1): it begins with a
# top-level domain. Schemes of the system, such as x-apple.systempreferences or vnd.youtube, do not.
_REVERSE_DOMAIN: Final = re.compile(r"(?!vnd\.)([a-z]{2,63}|xn--[a-z0-9-]+)(\.[a-z0-9-]+)+")
_ITEM: Final = re.compile(r"[a-z][a-z0-9+.-]*|[a-z][a-z0-9+.-]{2,}\*")
# A browser runs or opens these itself, so not even a setting may allow them.
_NEVER: Final = frozenset(
    {"about", "blob", "data", "file", "filesystem", "javascript", "livescript", "mocha"}
    | {"vbs", "vbscript", "view-source"}
)


@dataclass(frozen=True, slots=True)
class CallbackSchemes:
    """The allowed schemes. An item is a name, a prefix followed by `*`, or REVERSE_DOMAIN."""

    items: tuple[str, ...]

    def allow(self, scheme: str) -> bool:
        """Whether a callback URL may have this scheme, in lower case."""
        return scheme not in _NEVER and any(_matches(item, scheme) for item in self.items)

    def describe(self, reverse_domain: str) -> str:
        """List the allowed schemes for a developer. `reverse_domain` describes such schemes."""
        return ", ".join(reverse_domain if item == REVERSE_DOMAIN else item for item in self.items)


def parse_callback_schemes(text: str) -> CallbackSchemes:
    """Parse a list of schemes, separated by commas.

    Raises:
        ValueError: the text completes "the setting is invalid: ...".
    """
    items = tuple(dict.fromkeys(item.strip().lower() for item in text.split(",") if item.strip()))
    if not items:
        raise ValueError("name at least one scheme, such as https")
    for item in items:
        if item in _NEVER:
            raise ValueError(f"a browser runs or opens {item} itself, so no callback may have it")
        if not _ITEM.fullmatch(item):
            raise ValueError(
                f"{item!r} is not a scheme; write names such as https, or the first three or more "
                "characters of names and *"
            )
    return CallbackSchemes(items)


def _matches(item: str, scheme: str) -> bool:
    if item == REVERSE_DOMAIN:
        return bool(_REVERSE_DOMAIN.fullmatch(scheme))
    return scheme.startswith(item[:-1]) if item.endswith("*") else scheme == item
