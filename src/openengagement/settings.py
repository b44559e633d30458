"""One table of everything that can be set: name, default, unit or choices, limit, help.

A setting NAME is read from the environment variable ``OPENENGAGEMENT_NAME`` (upper case). An
unknown variable with that prefix, or a value that does not fit, stops the start with a message that
says what to change. `docs/settings.md` is generated from this table and a test keeps the two alike.
"""

import dataclasses
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from openengagement.engagement.types import parse_decimal

ENV_PREFIX: Final = "OPENENGAGEMENT_"
DATA_VARIABLE: Final = "OPENENGAGEMENT_DATA"  # the data folder: the command line's, not a setting
COUNTING_VARIABLE: Final = "OPENENGAGEMENT_COUNTING"  # where a server's own processes meet
_NO_SETTINGS: Final = {DATA_VARIABLE, COUNTING_VARIABLE}

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it and says what fits."""


def _number(default: int, text: str, *, unit: str, low: int, high: int) -> Any:  # noqa: ANN401
    meta = {"help": text, "unit": unit, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=meta)


def _switch(text: str, *, default: bool = False) -> Any:  # noqa: ANN401
    return dataclasses.field(default=default, metadata={"help": text, "unit": "true or false"})


def _text(default: str, text: str, *, unit: str, secret: bool = False) -> Any:  # noqa: ANN401
    return dataclasses.field(
        default=default, repr=not secret, metadata={"help": text, "unit": unit}
    )


def _choice(default: str, text: str, *choices: str) -> Any:  # noqa: ANN401 - a field's type is its annotation's
    meta = {"help": text, "unit": ", ".join(choices), "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its default."""

    # The data API
    rate_limit_per_minute: int = _number(
        6000,
        "Requests a minute of an app that was enabled without a figure of its own.",
        unit="requests",
        low=1,
        high=10_000_000,
    )
    rate_limit_per_second: int = _number(
        0,
        "Requests a second of any app; 0 enforces none, and the per-second headers then carry "
        "the per-minute figures.",
        unit="requests",
        low=0,
        high=1_000_000,
    )
    groupings_max: int = _number(3, "Groupings in one request.", unit="groupings", low=1, high=10)
    historical_floor: str = dataclasses.field(
        default="2014-09-01",
        metadata={"help": "Oldest start that /historical takes.", "unit": "YYYY-MM-DD"},
    )
    forbidden_text: str = _choice(
        "tweets",
        "Wording of the refusal of other people's Tweets: by Tweet, or by author as in 2016.",
        "tweets",
        "authors",
    )
    partial_ownership: bool = _switch(
        "Serve the Tweets that the token's user owns and name the rest in errors, "
        "instead of refusing the whole request (our extension)."
    )
    always_list_unavailable: bool = _switch("Send unavailable_tweet_ids even when it is empty.")
    require_gzip: bool = _switch("Refuse requests that do not accept gzip with 406, as upstream.")
    faithful: bool = _switch("All of upstream's severities at once; turns on require_gzip.")
    body_max_bytes: int = _number(
        1_048_576,
        "Largest request body outside the platform API, also after decompression.",
        unit="bytes",
        low=1024,
        high=67_108_864,
    )
    header_max_bytes: int = _number(
        32_768,
        "Path, query and headers of a request together.",
        unit="bytes",
        low=4096,
        high=262_144,
    )
    body_timeout_s: int = _number(
        60, "How long a request's body may take to come in.", unit="seconds", low=1, high=3600
    )
    inline_cells_max: int = _number(
        8192,
        "Largest answer, in counters, computed on the event loop; larger ones go to a thread.",
        unit="counters",
        low=0,
        high=1_000_000,
    )
    threads: int = _number(
        8, "Threads of a worker for work off the event loop.", unit="threads", low=1, high=64
    )

    # Authentication
    replay_protection: str = _choice(
        "strict",
        "Where a repeated nonce is refused: everywhere, on OAuth calls only, or nowhere.",
        "strict",
        "oauth",
        "off",
    )
    server_keys: str = dataclasses.field(
        default="",
        metadata={
            "help": "The keys that secrets are encrypted under, the newest first, instead of the "
            "data folder's key file. Make one with `openengagement key generate`.",
            "unit": "keys, comma between",
        },
    )
    timestamp_window_s: int = _number(
        300,
        "How far oauth_timestamp may lie from now, either way.",
        unit="seconds",
        low=10,
        high=3600,
    )
    lenient_access_token_signature: bool = _switch(
        "Take an oauth/access_token call that is signed with the consumer secret alone, or with "
        "the secret of the app owner's access token, as some clients do, instead of the request "
        "token's."
    )
    request_tokens_per_minute: int = _number(
        600, "Request tokens an app may ask for.", unit="requests", low=1, high=1_000_000
    )
    allow_plain_http: bool = _switch("Take plain HTTP from peers other than this machine.")
    trusted_proxies: str = dataclasses.field(
        default="",
        metadata={
            "help": "Proxies whose X-Forwarded-Proto, -Host and -For are believed, so that "
            "signatures are checked against the address that the client saw.",
            "unit": "networks, comma between",
        },
    )

    # Pages
    platform_name: str = dataclasses.field(
        default="Open Engagement",
        metadata={"help": "What the pages call the platform.", "unit": "text"},
    )
    apps_per_account_max: int = _number(
        10, "Apps that one account may create in the portal.", unit="apps", low=0, high=100_000
    )
    session_days: int = _number(
        14, "How long a sign-in to the pages lasts.", unit="days", low=1, high=365
    )
    sign_in_threads: int = _number(
        2,
        "Passwords checked at once by a worker; each takes 64 MiB and a few cores for a moment.",
        unit="threads",
        low=1,
        high=64,
    )
    password_sign_in: bool = _switch(
        "Let people sign in with a password of ours; false leaves OpenID Connect alone.",
        default=True,
    )
    oidc_issuer: str = _text(
        "",
        "OpenID Connect provider that people may sign in through: its issuer, exactly as its "
        "discovery document has it. Needs a client ID and a secret.",
        unit="URL",
    )
    oidc_client_id: str = _text("", "What the provider calls this server.", unit="text")
    oidc_client_secret: str = _text(
        "", "The secret that goes with the client ID.", unit="text", secret=True
    )
    oidc_client_secret_file: str = _text(
        "", "File that holds the secret, to keep it out of the environment.", unit="path"
    )
    oidc_name: str = _text(
        "", "What the sign-in page calls the provider; by default its host.", unit="text"
    )
    oidc_account_claim: str = _text(
        "preferred_username",
        "Claim that tells whose account it is: sub by account ID, any other by screen name.",
        unit="claim",
    )
    oidc_scope: str = _text(
        "openid profile", "What is asked of the provider; openid is always among it.", unit="scopes"
    )

    # Sending events
    batch_max_bytes: int = _number(
        67_108_864, "Largest platform batch as sent.", unit="bytes", low=1024, high=1_073_741_824
    )
    batch_max_decompressed_bytes: int = _number(
        268_435_456,
        "Largest platform batch once decompressed.",
        unit="bytes",
        low=1024,
        high=2_147_483_647,
    )
    batch_max_lines: int = _number(
        1_000_000, "Lines in one platform batch.", unit="lines", low=1, high=10_000_000
    )
    batches_in_flight_max: int = _number(
        8,
        "Platform batches under way in one worker; one more gets 503.",
        unit="batches",
        low=1,
        high=256,
    )
    rejections_listed_max: int = _number(
        100, "Rejected lines spelled out in one answer.", unit="lines", low=0, high=10_000
    )
    event_future_max_s: int = _number(
        300, "How far ahead of now an event's time may lie.", unit="seconds", low=0, high=86_400
    )
    idempotency_keep_days: int = _number(
        90, "How long a batch's Idempotency-Key is remembered.", unit="days", low=1, high=3650
    )

    def __post_init__(self) -> None:
        # Each raises when its text does not fit.
        _ = self.proxies, self.historical_floor_s, self.oidc_secret
        if not self.password_sign_in and not self.oidc_issuer:
            raise SettingsError(
                f"{ENV_PREFIX}PASSWORD_SIGN_IN: without an OpenID Connect provider nobody could "
                f"sign in; leave it on, or set {ENV_PREFIX}OIDC_ISSUER and what goes with it"
            )

    @property
    def gzip_required(self) -> bool:
        return self.require_gzip or self.faithful

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        names = [name.strip() for name in self.trusted_proxies.split(",") if name.strip()]
        try:
            return tuple(ipaddress.ip_network(name) for name in names)
        except ValueError as error:
            raise SettingsError(f"{ENV_PREFIX}TRUSTED_PROXIES: {error}") from None

    @property
    def oidc_secret(self) -> str:
        """The secret that the provider knows us by; empty when no provider is set."""
        secret = _read_secret(self.oidc_client_secret, self.oidc_client_secret_file)
        given = [self.oidc_issuer, self.oidc_client_id, secret]
        if any(given) and not all(given):
            names = "OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET (or OIDC_CLIENT_SECRET_FILE)"
            raise SettingsError(f"{ENV_PREFIX}{names}: set all three or none")
        if self.oidc_issuer and not _is_issuer(self.oidc_issuer):
            text = "write an https URL without ? or #, or http on this machine"
            raise SettingsError(f"{ENV_PREFIX}OIDC_ISSUER: {text}")
        if "openid" not in self.oidc_scope.split():
            raise SettingsError(f"{ENV_PREFIX}OIDC_SCOPE: name openid among the scopes")
        if not self.oidc_account_claim:
            raise SettingsError(f"{ENV_PREFIX}OIDC_ACCOUNT_CLAIM: name a claim")
        return secret

    @property
    def oidc_shown_name(self) -> str | None:
        """What the pages call the provider; None when none is set."""
        host = urlsplit(self.oidc_issuer).hostname
        return host and (self.oidc_name or host)

    @property
    def historical_floor_s(self) -> int:
        """The oldest `/historical` start as Unix seconds."""
        try:
            floor = datetime.strptime(self.historical_floor, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            text = f"{ENV_PREFIX}HISTORICAL_FLOOR: write a date as YYYY-MM-DD"
            raise SettingsError(text) from None
        return int(floor.timestamp())


def _read_secret(secret: str, path: str) -> str:
    if not path:
        return secret
    name = f"{ENV_PREFIX}OIDC_CLIENT_SECRET_FILE"
    if secret:
        raise SettingsError(f"{name}: the secret is given in the environment too")
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{name}: {path} cannot be read") from None
    if not text:
        raise SettingsError(f"{name}: {path} is empty")
    return text


def _is_issuer(url: str) -> bool:
    return is_provider_url(url) and "?" not in url


def is_provider_url(url: str) -> bool:
    """Whether an OpenID Connect provider may be at this address: under TLS, or on this machine."""
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in ' "<>\\#'):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _THIS_MACHINE)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    Raises:
        SettingsError: an unknown ``OPENENGAGEMENT_`` variable, or a value that does not fit.
    """
    fields = {ENV_PREFIX + field.name.upper(): field for field in dataclasses.fields(Settings)}
    given: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or name in _NO_SETTINGS:
            continue
        if name not in fields:
            raise SettingsError(f"{name} is not a setting; docs/settings.md lists those there are")
        given[fields[name].name] = _parse_value(name, text, field=fields[name])
    return Settings(**given)


def _parse_value(name: str, text: str, *, field: "dataclasses.Field[Any]") -> int | bool | str:
    if field.type is bool:
        if text.lower() not in {"true", "false"}:
            raise SettingsError(f"{name}: write true or false, not {text!r}")
        return text.lower() == "true"
    if field.type is int:
        low, high = field.metadata["low"], field.metadata["high"]
        number = parse_decimal(text, maximum=high)
        if number is None or number < low:
            raise SettingsError(f"{name}: write a whole number from {low} to {high}, not {text!r}")
        return number
    choices = field.metadata.get("choices")
    if choices and text not in choices:
        raise SettingsError(f"{name}: write one of {', '.join(choices)}, not {text!r}")
    return text


def render_settings() -> str:
    """The table as Markdown, the body of `docs/settings.md`."""
    rows = [
        "| variable | default | unit or choices | limits | what it sets |",
        "|---|---|---|---|---|",
    ]
    for field in dataclasses.fields(Settings):
        meta = field.metadata
        limits = f"{meta['low']:,} to {meta['high']:,}" if "low" in meta else ""
        default = str(field.default).lower() if field.type is bool else str(field.default)
        rows.append(
            f"| `{ENV_PREFIX}{field.name.upper()}` | {default or 'none'} | {meta['unit']} "
            f"| {limits} | {meta['help']} |"
        )
    return "\n".join(rows) + "\n"
