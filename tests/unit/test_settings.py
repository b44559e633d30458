"""The table of settings: valid and invalid values, and the generated documentation."""

import dataclasses
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from openengagement.intake_settings import IntakeSettings
from openengagement.settings import Settings, SettingsError, load_settings
from support.cases import cases
from support.settings_table import render_settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
REGENERATE = "docs/settings.md differs from the table in settings.py. Run: make tables"
FIELDS = dataclasses.fields(Settings)
NUMBERS = [field for field in FIELDS if field.type is int]
SWITCHES = [field for field in FIELDS if field.type is bool]
CHOICES = [field for field in FIELDS if "choices" in field.metadata]


def variable(field):
    return f"OPENENGAGEMENT_{field.name.upper()}"


def load(**values):
    return load_settings({f"OPENENGAGEMENT_{name.upper()}": text for name, text in values.items()})


def refused(environ):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return str(caught.value)


def by_name(field):
    return field.name


# --- defaults ------------------------------------------------------------------------------------


def test_an_empty_environment_gives_the_defaults():
    assert load_settings({}) == Settings()


def test_the_defaults_are_those_of_the_contract():
    """Section 0 of the contract, by hand."""
    settings = Settings()
    assert settings.gzip_required is False
    assert settings.replay_protection == "strict"
    assert settings.timestamp_window_s == 300
    assert settings.forbidden_text == "tweets"
    assert settings.partial_ownership is False
    assert settings.groupings_max == 3
    assert settings.historical_floor_s == datetime(2014, 9, 1, tzinfo=UTC).timestamp()
    assert settings.always_list_unavailable is False
    assert settings.allow_plain_http is False
    assert settings.faithful is False
    assert settings.rate_limit_per_minute == 6000
    assert settings.rate_limit_per_second == 0
    assert settings.proxies == ()


@cases("field", FIELDS, ids=by_name)
def test_every_setting_has_a_help_text_and_a_unit(field):
    assert field.metadata["help"].endswith(".")
    assert field.metadata["unit"]


@cases("field", NUMBERS, ids=by_name)
def test_the_default_of_a_number_lies_within_its_limits(field):
    assert field.metadata["low"] <= field.default <= field.metadata["high"]


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().groupings_max = 5


# --- numbers -------------------------------------------------------------------------------------


@cases("field", NUMBERS, ids=by_name)
def test_a_number_may_equal_its_limits(field):
    for limit in (field.metadata["low"], field.metadata["high"]):
        assert getattr(load(**{field.name: str(limit)}), field.name) == limit


@cases("field", NUMBERS, ids=by_name)
def test_a_number_outside_its_limits_is_refused(field):
    low, high = field.metadata["low"], field.metadata["high"]
    for past in (low - 1, high + 1):
        text = refused({variable(field): str(past)})
        assert text.startswith(f"{variable(field)}: ")
        assert str(low) in text
        assert str(high) in text


@cases(
    "value",
    ["", "abc", "-1", "+5", "1.0", "1e3", "1_0", " 5", "5\n", "５", "²", "9" * 19, "9" * 5000],  # noqa: RUF001
)  # fmt: skip
@cases("name", ["groupings_max", "rate_limit_per_second"])
def test_only_whole_numbers_are_accepted(name, value):
    text = refused({f"OPENENGAGEMENT_{name.upper()}": value})
    assert "whole number" in text


@cases("value", ["0" * 20 + "99999999999", "0" * 5000, "0" * 5000 + "9"])
@cases("name", ["groupings_max", "rate_limit_per_second"])
def test_leading_zeros_do_not_bypass_the_limit_on_digits(name, value):
    assert "whole number" in refused({f"OPENENGAGEMENT_{name.upper()}": value})


# --- switches, choices ---------------------------------------------------------------------------


@cases("field", SWITCHES, ids=by_name)
def test_a_switch_accepts_true_and_false_in_any_case(field):
    # Without a provider, the switch for passwords cannot be off.
    provider = {"issuer": "https://id.example", "client_id": "x", "client_secret": "y"}
    more = {f"oidc_{name}": text for name, text in provider.items()}
    for text, value in {"true": True, "True": True, "FALSE": False, "false": False}.items():
        assert getattr(load(**more | {field.name: text}), field.name) is value


def test_at_least_one_sign_in_method_is_required():
    assert "nobody could sign in" in refused({"OPENENGAGEMENT_PASSWORD_SIGN_IN": "false"})


@cases("field", SWITCHES, ids=by_name)
@cases("value", ["", "1", "0", "yes", "on", " true", "true\n"])
def test_a_switch_refuses_other_values(field, value):
    text = refused({variable(field): value})
    assert text.startswith(f"{variable(field)}: write true or false")


@cases("field", CHOICES, ids=by_name)
def test_a_choice_accepts_the_values_it_lists(field):
    for choice in field.metadata["choices"]:
        settings = load(intake_log="nats://host/EVENTS", **{field.name: choice})
        assert getattr(settings, field.name) == choice


@cases("field", CHOICES, ids=by_name)
@cases("value", ["", "none", "Strict", "tweets ", "tweets,authors"])
def test_a_choice_refuses_other_values(field, value):
    text = refused({variable(field): value})
    assert text.startswith(f"{variable(field)}: ")
    assert all(choice in text for choice in field.metadata["choices"])


def test_the_choices_are_those_of_the_contract():
    assert {field.name: set(field.metadata["choices"]) for field in CHOICES} == {
        "forbidden_text": {"tweets", "authors"},
        "replay_protection": {"strict", "oauth", "off"},
        "access_log": {"on", "sampled", "off"},
        "log_format": {"json", "text"},
        "intake": {"direct", "log"},
    }


@pytest.mark.parametrize(
    ("given", "required"),
    [({}, False), ({"require_gzip": "true"}, True), ({"faithful": "true"}, True),
     ({"faithful": "true", "require_gzip": "false"}, True)],
)  # fmt: skip
def test_faithful_turns_on_require_gzip(given, required):
    assert load(**given).gzip_required is required


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1970-01-01", 0), ("2016-02-29", 1_456_704_000), ("2014-09-01", 1_409_529_600)],
)
def test_the_earliest_start_is_a_date(text, seconds):
    assert load(historical_floor=text).historical_floor_s == seconds


@cases(
    "value",
    ["", "never", "2014", "2014-13-01", "2015-02-29", "2014-09-01T00:00:00Z", "01.09.2014"],
)  # fmt: skip
def test_an_earliest_start_that_is_not_a_date_is_refused(value):
    text = refused({"OPENENGAGEMENT_HISTORICAL_FLOOR": value})
    assert text == "OPENENGAGEMENT_HISTORICAL_FLOOR: write a date as YYYY-MM-DD"


@cases(
    ("text", "networks"),
    [
        ("", []),
        (" , ", []),
        ("10.0.0.7", ["10.0.0.7/32"]),
        ("10.0.0.0/8, 192.168.1.0/24", ["10.0.0.0/8", "192.168.1.0/24"]),
        ("::1,fd00::/8,", ["::1/128", "fd00::/8"]),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(text, networks):
    assert load(trusted_proxies=text).proxies == tuple(map(ip_network, networks))


@cases(
    "value",
    ["proxy.example", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/8 192.168.0.0/16", "*", "10.0.0.1:80"],
)
def test_an_invalid_network_is_refused(value):
    assert refused({"OPENENGAGEMENT_TRUSTED_PROXIES": value}).startswith(
        "OPENENGAGEMENT_TRUSTED_PROXIES: "
    )


def test_texts_are_also_checked_in_settings_that_code_creates():
    with pytest.raises(SettingsError):
        Settings(trusted_proxies="nonsense")
    with pytest.raises(SettingsError):
        Settings(historical_floor="nonsense")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "OPENENGAGEMENT_",
        "OPENENGAGEMENT_GROUPING_MAX",
        "OPENENGAGEMENT_groupings_max",
        "OPENENGAGEMENT_DATA_DIR",
    ],
)
def test_an_unknown_variable_is_refused(name):
    text = refused({name: "3"})
    assert name in text
    assert "docs/settings.md" in text


@pytest.mark.parametrize(
    "name", ["PATH", "GROUPINGS_MAX", "openengagement_groupings_max", "OPENENGAGEMENTX"]
)
def test_variables_without_the_prefix_are_ignored(name):
    assert load_settings({name: "whatever"}) == Settings()


def test_the_variable_of_the_data_folder_is_not_a_setting():
    assert load_settings({"OPENENGAGEMENT_DATA": "/var/lib/somewhere"}) == Settings()


def test_settings_are_independent():
    got = load(groupings_max="10", faithful="true", forbidden_text="authors")
    assert got == Settings(groupings_max=10, faithful=True, forbidden_text="authors")


# --- docs ----------------------------------------------------------------------------------------


def test_the_rendered_table_has_a_row_for_every_setting():
    head, line, *rows = render_settings().splitlines()
    assert head == "| variable | default | unit or choices | limits | what it sets |"
    assert set(line) == {"|", "-"}
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    inherited = {field.name for field in dataclasses.fields(IntakeSettings)}
    fields = sorted(FIELDS, key=lambda field: field.name in inherited)  # these come last
    assert [row[0] for row in cells] == [f"`{variable(field)}`" for field in fields]
    for row, field in zip(cells, fields, strict=True):
        default = str(field.default).lower() if field.type is bool else str(field.default)
        assert row[1] == (default or "none")
        assert row[2] == field.metadata["unit"]
        if field.type is int:
            assert row[3] == f"{field.metadata['low']:,} to {field.metadata['high']:,}"
        assert row[4] == field.metadata["help"]


def test_the_docs_contain_the_table():
    assert render_settings() in DOCS.read_text(encoding="utf-8"), REGENERATE


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("api.example.com", {"api.example.com"}),
        (" API.example.com, localhost:8080 ,", {"api.example.com", "localhost:8080"}),
        ("192.0.2.1, [2001:db8::1], [::1]:8080", {"192.0.2.1", "[2001:db8::1]", "[::1]:8080"}),
    ],
)
def test_hosts_are_names_with_or_without_a_port(text, names):
    assert load(hosts=text).host_names == names


@cases(
    "text", ["https://api.example.com", "api.example.com/", "a@b", "host:x", "host:0", ":80", "a?b"]
)
def test_other_hosts_are_refused(text):
    for name in ("OPENENGAGEMENT_HOSTS", "OPENENGAGEMENT_IMAGE_HOSTS"):
        assert refused({name: text}).startswith(f"{name}: ")


@cases(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("metrics.internal:9464", ("metrics.internal", 9464)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_metrics_have_an_address(text, address):
    assert load(metrics=text).metrics_address == address


@cases(
    "text",
    [
        *(
            "9464",
            ":9464",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "127.0.0.1:x",
            "::1:9464",
        ),
        *("http://127.0.0.1:9464", "127.0.0.1:9464/x", "a@b:9464", " 127.0.0.1:9464", "[::1"),
    ],
)
def test_other_addresses_of_metrics_are_refused(text):
    assert refused({"OPENENGAGEMENT_METRICS": text}).startswith(
        "OPENENGAGEMENT_METRICS: write an address such as 127.0.0.1:9464"
    )


@pytest.mark.parametrize("text", ["a.example;script-src *", "'unsafe-inline'", '"', "a.example'"])
def test_a_host_cannot_change_the_content_security_policy(text):
    assert refused({"OPENENGAGEMENT_IMAGE_HOSTS": text}).startswith("OPENENGAGEMENT_IMAGE_HOSTS: ")


def test_hosts_of_pictures():
    names = load(image_hosts="Media.example.com, b.example:8443").image_host_names
    assert names == {"media.example.com", "b.example:8443"}
    assert load().image_host_names == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com/posts/{id}",
        "http://example.com/?post={id}&a={id}",
        "https://a.example:8443/#/{id}",
    ],
)
def test_pages_of_tweets(text):
    assert load(tweet_url=text).tweet_url == text


@cases(
    "text",
    [
        "https://example.com/posts/",
        "https://{id}.example.com/{id}",
        "example.com/{id}",
        "javascript:alert({id})",
        "https://user@example.com/{id}",
        'https://example.com/"{id}',
        "https://example.com/ {id}",
        "https:///{id}",
        "https://example.com/\u00fc{id}",
        "{id}",
    ],
)
def test_other_pages_of_tweets_are_refused(text):
    error = refused({"OPENENGAGEMENT_TWEET_URL": text})
    assert error.startswith("OPENENGAGEMENT_TWEET_URL: write an http or https URL with {id}")


# --- notifications -------------------------------------------------------------------------------

MAIL = {
    "smtp_server": "smtp://user:p%40ss@mail.example.com",
    "mail_from": "engagement@example.com",
    "mail_to": "one@example.com, two@example.com",
}


def test_a_mail_server():
    settings = load(**MAIL)
    server = settings.mail_server
    assert (server.host, server.port, server.tls) == ("mail.example.com", 587, False)
    assert (server.user, server.password) == ("user", "p@ss")
    assert settings.mail_receivers == ("one@example.com", "two@example.com")
    assert "p@ss" not in f"{server!r} {settings!r}"
    assert "p%40ss" not in repr(settings)
    assert load(**MAIL | {"smtp_server": "smtps://[::1]"}).mail_server.port == 465
    assert load().mail_server is None


@pytest.mark.parametrize("missing", MAIL)
def test_mail_needs_all_three(missing):
    given = {name: text for name, text in MAIL.items() if name != missing}
    with pytest.raises(SettingsError, match="set all three or none"):
        load(**given)


@cases(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://user@mail.example.com",
        "smtp://:password@mail.example.com",
        "smtp://mail.example.com/path",
        "smtp://mail.example.com?tls=no",
        "smtp://mail.example.com:0",
        "smtp://mail.example.com:99999",
        "smtp://mail.example.com\r\nDATA",
    ],
)
def test_unfit_mail_servers(url):
    with pytest.raises(SettingsError, match="SMTP_SERVER: write"):
        load(**MAIL | {"smtp_server": url})


@cases("name", ["mail_from", "mail_to"])
@cases("address", ["operator", "a@", "@b", "a@b@c", "A <a@example.com>", "a@x\r\nBcc: b@x", "é@x"])
def test_unfit_mail_addresses(name, address):
    with pytest.raises(SettingsError, match="write an address"):
        load(**MAIL | {name: address})


def test_networks_of_webhooks():
    networks = load(webhook_networks="10.1.0.0/16, ::1").allowed_webhook_networks
    assert networks == (ip_network("10.1.0.0/16"), ip_network("::1/128"))
    with pytest.raises(SettingsError, match="WEBHOOK_NETWORKS"):
        load(webhook_networks="10.1.0.1/16")


@pytest.mark.parametrize("url", ["", "https://engagement.example.com", "http://127.0.0.1:8080/"])
def test_public_urls(url):
    assert load(public_url=url).public_url == url


@cases(
    "url",
    [
        "example.com",
        "ftp://example.com",
        "https://",
        "https://example.com/a",
        "https://example.com?a",
    ],
)
def test_public_urls_that_are_refused(url):
    error = refused({"OPENENGAGEMENT_PUBLIC_URL": url})
    assert error.startswith("OPENENGAGEMENT_PUBLIC_URL: write an https URL without a path")
