"""The table of all settings: name, default, unit or choices, limits and help.

The environment variable ``OPENENGAGEMENT_NAME`` (upper case) sets the setting `name`. An unknown
variable with that prefix, or an invalid value, stops the start with a message that says what to
change. `docs/settings.md` is generated from this table, and a test compares the two.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openengagement import intake_settings, provider_settings
from openengagement.engagement.callback_schemes import CallbackSchemes, parse_callback_schemes
from openengagement.setting_kinds import (
    Network,
    check_tweet_url,
    find_database_fault,
    parse_address,
    parse_day,
    parse_hosts,
    parse_networks,
    parse_value,
)
from openengagement.setting_kinds import choice as _choice
from openengagement.setting_kinds import number as _number
from openengagement.setting_kinds import switch as _switch
from openengagement.setting_kinds import text as _text

ENV_PREFIX: Final = provider_settings.ENV_PREFIX
SettingsError = provider_settings.SettingsError
DATA_VARIABLE: Final = "OPENENGAGEMENT_DATA"  # the data folder, an option of the command line
# The socket of the counting process; the server sets it.
COUNTING_VARIABLE: Final = "OPENENGAGEMENT_COUNTING"
METRICS_VARIABLE: Final = "OPENENGAGEMENT_METRICS_MEMORY"  # `metrics.cells`; the server sets it
SANDBOX_VARIABLE: Final = "OPENENGAGEMENT_SANDBOX"  # the command `sandbox` sets it
# The file in the data folder; its name is here for processes that do not load the registry.
REGISTRY_FILE: Final = "registry.sqlite3"
_NOT_SETTINGS: Final = {DATA_VARIABLE, COUNTING_VARIABLE, METRICS_VARIABLE, SANDBOX_VARIABLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(intake_settings.IntakeSettings):
    """Every setting with its default. Those of the intake, notifications, sign-in are inherited."""

    # Storage
    registry: str = _text(
        "",
        "PostgreSQL database for the registry, such as postgresql://user:password@host/name; by "
        "default it is a file in the data folder.",
        unit="URL",
        secret=True,
    )
    store: str = _text(
        "",
        "ClickHouse cluster for the counters, such as clickhouse://user:password@host1,host2/name?"
        "cluster=name; clickhouses:// for TLS. Tweets are then in the registry's database.",
        unit="URL",
        secret=True,
    )

    # The data API
    rate_limit_per_minute: int = _number(
        6000,
        "Rate limit of an app that was enabled without a limit of its own, per minute.",
        unit="requests",
        limits=(1, 10_000_000),
    )
    rate_limit_per_second: int = _number(
        0,
        "Rate limit of every app per second. With 0 there is none, and the per-second headers "
        "repeat the per-minute values.",
        unit="requests",
        limits=(0, 1_000_000),
    )
    groupings_max: int = _number(
        3, "Maximum number of groupings in one request.", unit="groupings", limits=(1, 10)
    )
    historical_floor: str = _text(
        "2014-09-01", "Earliest start that /historical accepts.", unit="YYYY-MM-DD"
    )
    forbidden_text: str = _choice(
        "tweets",
        "Wording of the error for other people's Tweets: by Tweet, or by author as in 2016.",
        "tweets",
        "authors",
    )
    partial_ownership: bool = _switch(
        "If a request names Tweets of several owners, serve those of the token's user and list the "
        "others in errors, instead of refusing the request (our extension)."
    )
    always_list_unavailable: bool = _switch("Send unavailable_tweet_ids even if it is empty.")
    require_gzip: bool = _switch(
        "Refuse requests that do not accept gzip with 406, as Twitter's API did."
    )
    faithful: bool = _switch(
        "Be as strict as Twitter's API in every respect; this turns on require_gzip."
    )
    body_max_bytes: int = _number(
        1_048_576,
        "Maximum size of a request body, before and after decompression, except on the platform "
        "API.",
        unit="bytes",
        limits=(1024, 67_108_864),
    )
    header_max_bytes: int = _number(
        32_768, "Maximum size of path, query and headers.", unit="bytes", limits=(4096, 262_144)
    )
    body_timeout_s: int = _number(
        60, "Maximum time in which a request's body must arrive.", unit="seconds", limits=(1, 3600)
    )
    response_timeout_s: int = _number(
        60,
        "After this time, the connection of a client that reads nothing of its response is closed. "
        "On other systems than Linux, this applies only to responses of more than 64 KiB.",
        unit="seconds",
        limits=(1, 3600),
    )
    bodies_in_flight_max_bytes: int = _number(
        67_108_864,
        "Maximum size of all data API request bodies of more than 8 KiB that a worker reads or "
        "holds at the same time; further ones get 503.",
        unit="bytes",
        limits=(65_536, 1_073_741_824),
    )
    responses_in_flight_max_bytes: int = _number(
        67_108_864,
        "Maximum size of all responses of more than 64 KiB that clients of a worker have not read "
        "yet; further requests get 503.",
        unit="bytes",
        limits=(65_536, 1_073_741_824),
    )
    inline_cells_max: int = _number(
        8192,
        "Maximum size of a response that is computed on the event loop; larger ones use a thread.",
        unit="counters",
        limits=(0, 1_000_000),
    )
    totals_cached_max: int = _number(
        50_000,
        "Maximum number of Tweets whose totals a worker keeps in memory, about 300 bytes each.",
        unit="Tweets",
        limits=(0, 10_000_000),
    )
    threads: int = _number(
        8, "Threads of a worker for work off the event loop.", unit="threads", limits=(1, 64)
    )

    # Authentication
    replay_protection: str = _choice(
        "strict",
        "Where a repeated request is refused: everywhere, on OAuth calls only, or nowhere.",
        "strict",
        "oauth",
        "off",
    )
    server_keys: str = _text(
        "",
        "Keys that encrypt stored secrets, newest first; they replace the data folder's key file. "
        "Create one with `openengagement key generate`.",
        unit="keys, separated by commas",
        secret=True,
    )
    timestamp_window_s: int = _number(
        300,
        "Maximum difference between oauth_timestamp and the server's time, in both directions.",
        unit="seconds",
        limits=(10, 3600),
    )
    lenient_access_token_signature: bool = _switch(
        "Also accept oauth/access_token calls that are not signed with the request token's secret. "
        "Some clients use the consumer secret alone, or the app owner's access token secret."
    )
    access_log: str = _choice(
        "sampled",
        "Which requests get a log line: all, refused ones and 1 % of the others, or none.",
        "on",
        "sampled",
        "off",
    )
    log_format: str = _choice(
        "json", "Format of log lines: for programs, or for people at a terminal.", "json", "text"
    )
    metrics: str = _text(
        "",
        "Address at which `serve` has Prometheus metrics, at /metrics, such as 127.0.0.1:9464; by "
        "default there are none.",
        unit="host:port",
    )
    trust_traceparent: bool = _switch(
        "Continue the traces that the header traceparent of a request names. By default they are "
        "only linked, because every client can send the header."
    )
    log_refusals: bool = _switch(
        "Log one line for every refused API call: the reason, and what to change. For development; "
        "the sandbox turns it on unless it is set to false."
    )
    request_tokens_per_minute: int = _number(
        600, "Request tokens per app and minute.", unit="requests", limits=(1, 1_000_000)
    )
    allow_plain_http: bool = _switch("Accept plain HTTP from other machines.")
    hosts: str = _text(
        "",
        "Names of this server, as clients write them in URLs; a name without a port allows every "
        "port. Requests for other hosts are refused with 421, except health checks. By default "
        "every host is accepted.",
        unit="host names, separated by commas",
    )
    trusted_proxies: str = _text(
        "",
        "Proxies whose X-Forwarded-Proto, -Host and -For are trusted. Signatures are then checked "
        "against the URL that the client used.",
        unit="networks, separated by commas",
    )

    # Pages
    tweet_url: str = _text(
        "",
        "Page of a Tweet without a URL of its own, such as https://example.com/posts/{id}.",
        unit="URL with {id}",
    )
    image_hosts: str = _text(
        "",
        "Hosts whose pictures of Tweets the pages show, over HTTPS. By default they show none.",
        unit="host names, separated by commas",
    )
    apps_per_account_max: int = _number(
        10, "Maximum number of apps that an account may create.", unit="apps", limits=(0, 100_000)
    )
    shares_per_account_max: int = _number(
        20,
        "Maximum number of accounts that an account may let see its figures. With 0, nobody can "
        "share more figures; shares that exist stay.",
        unit="accounts",
        limits=(0, 1000),
    )
    callback_schemes: str = _text(
        "https, http, reverse-domain",
        "Schemes that a new callback URL may have. `reverse-domain` stands for every reverse "
        "domain name with a dot, such as com.example.app; `twitterkit-*` for every name that "
        "begins so.",
        unit="schemes, separated by commas",
    )
    session_days: int = _number(
        14, "How long a person stays signed in to the pages.", unit="days", limits=(1, 365)
    )
    sign_in_threads: int = _number(
        2,
        "Passwords that a worker verifies at the same time, besides one that is kept for browsers "
        "that signed in before; each takes 64 MiB and several cores.",
        unit="threads",
        limits=(1, 64),
    )
    managers_need_second_factor: bool = _switch(
        "Let managers who signed in with a password use the console only if they also entered a "
        "code of their second factor. A provider of OpenID Connect sees to its own second factors."
    )
    password_sign_in: bool = _switch(
        "Let people sign in with a password. With false only OpenID Connect remains.", default=True
    )

    # Sending events
    idempotency_keep_days: int = _number(
        90,
        "How long the Idempotency-Key of a batch is kept at least.",
        unit="days",
        limits=(1, 3650),
    )

    def __post_init__(self) -> None:
        # These properties raise if their text is invalid.
        _ = self.host_names, self.proxies, self.historical_floor_s
        _ = self.oidc_secret, self.allowed_callback_schemes, self.image_host_names
        _ = self.metrics_address
        self.check_intake()
        self.check_notifications()
        self.check_look()
        self._parse("tweet_url", check_tweet_url)
        if fault := find_database_fault(self.registry, self.store):
            raise SettingsError(f"{ENV_PREFIX}{fault}")
        if not self.password_sign_in and not self.oidc_issuer:
            raise SettingsError(
                f"{ENV_PREFIX}PASSWORD_SIGN_IN: without an OpenID Connect provider nobody could "
                f"sign in; set it to true, or set {ENV_PREFIX}OIDC_ISSUER and the client ID and "
                "secret"
            )

    @property
    def gzip_required(self) -> bool:
        """Whether requests that do not accept gzip are refused."""
        return self.require_gzip or self.faithful

    @property
    def host_names(self) -> frozenset[str]:
        """The names of `hosts`, in lower case."""
        return self._parse("hosts", parse_hosts)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """The host and the port of `metrics`."""
        return self._parse("metrics", parse_address) if self.metrics else None

    @property
    def image_host_names(self) -> frozenset[str]:
        """The names of `image_hosts`, in lower case."""
        return self._parse("image_hosts", parse_hosts)

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of `trusted_proxies`."""
        return self._parse("trusted_proxies", parse_networks)

    @property
    def allowed_callback_schemes(self) -> CallbackSchemes:
        """The schemes of `callback_schemes`."""
        return self._parse("callback_schemes", parse_callback_schemes)

    @property
    def historical_floor_s(self) -> int:
        """The earliest `/historical` start as Unix seconds."""
        return self._parse("historical_floor", parse_day)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from an environment.

    Raises:
        SettingsError: an unknown ``OPENENGAGEMENT_`` variable, or a value that does not fit.
    """
    fields = {ENV_PREFIX + field.name.upper(): field for field in dataclasses.fields(Settings)}
    given: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or name in _NOT_SETTINGS:
            continue
        if name not in fields:
            raise SettingsError(f"{name} is not a setting; docs/settings.md lists all settings")
        try:
            given[fields[name].name] = parse_value(text, field=fields[name])
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
    return Settings(**given)
