"""What accounts and apps may do: the roles of people and the access levels of apps."""

from enum import StrEnum


class Role(StrEnum):
    """What an account may do on the pages. A manager decides about apps."""

    MEMBER = "member"
    MANAGER = "manager"


class Proof(StrEnum):
    """How a person signed in. A session keeps it, because some pages demand a second factor."""

    PASSWORD = "password"
    CODE = "code"  # a password and a second factor
    PROVIDER = "provider"  # an OpenID Connect provider vouched for the person


class AccessLevel(StrEnum):
    """How much an app may do for an account (api.md 4.6). The values are on the wire."""

    READ = "read"
    READ_WRITE = "read-write"
    READ_WRITE_MESSAGES = "read-write-directmessages"

    def covers(self, other: "AccessLevel") -> bool:
        """Whether this level allows everything that another one allows."""
        levels = list(AccessLevel)
        return levels.index(self) >= levels.index(other)

    def limited_to(self, requested: str | None) -> "AccessLevel":
        """Return READ if a client requests that (`x_auth_access_type`, api.md 4.6), else self."""
        return AccessLevel.READ if requested == AccessLevel.READ else self
