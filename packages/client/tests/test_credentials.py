"""Credentials come from arguments, the environment, `.env` or a profile, and stay secret."""

import pytest

from openengagement_client import (
    ConfigurationError,
    Credentials,
    EngagementClient,
    PlatformClient,
    load_profile,
)
from support.cases import cases

URL = "https://metrics.example.com"
ENVIRONMENT = {
    "ENGAGEMENT_API_URL": URL + "/",
    "CONSUMER_KEY": "key",
    "CONSUMER_SECRET": "secret",
    "BEARER_TOKEN": "",
}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def profiles(tmp_path):
    path = tmp_path / "openengagement" / "profiles.toml"
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text(
        f"""
[alice]
url = "{URL}"
consumer_key = "alice's key"
consumer_secret = "s"

[misspelt]
consumer_keys = "x"
"""
    )
    return path


def test_the_environment():
    found = load_profile(environment=ENVIRONMENT)
    assert found.url == URL
    assert found.credentials == Credentials(consumer_key="key", consumer_secret="secret")


def test_arguments_come_first():
    given = Credentials(bearer_token="given")
    found = load_profile("https://other.example", given, environment=ENVIRONMENT)
    assert (found.url, found.credentials) == ("https://other.example", given)
    assert load_profile(credentials=given, environment=ENVIRONMENT).url == URL


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("BEARER_TOKEN=abc", "abc"),
        ("export BEARER_TOKEN = 'a#b' # the comment", "a#b"),
        ('BEARER_TOKEN="a$b%2F="', "a$b%2F="),
        ("BEARER_TOKEN=a#b", "a#b"),
        ("BEARER_TOKEN=a%2Fb= # the comment", "a%2Fb="),
        ("BEARER_TOKEN=", ""),
        ("# BEARER_TOKEN=abc", ""),
    ],
)
def test_a_file_of_variables(tmp_path, line, value):
    (tmp_path / ".env").write_text(f"ENGAGEMENT_API_URL={URL}\r\n\nnonsense\n{line}\n")
    assert load_profile(environment={}).credentials.bearer_token == value
    assert load_profile(environment={"BEARER_TOKEN": "x"}).credentials.bearer_token == "x"


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no file"):
        load_profile(env_file=tmp_path / "missing.env", environment=ENVIRONMENT)


def test_a_profile_is_not_mixed_with_the_environment(profiles):
    environment = {**ENVIRONMENT, "XDG_CONFIG_HOME": str(profiles.parents[1])}
    environment |= {"ACCESS_TOKEN": "bob's", "ACCESS_TOKEN_SECRET": "bob's"}
    expected = Credentials(consumer_key="alice's key", consumer_secret="s")
    for found in (
        load_profile(profile="alice", environment=environment),
        load_profile(environment={**environment, "ENGAGEMENT_API_PROFILE": "alice"}),
    ):
        assert found.credentials == expected


@pytest.mark.parametrize(
    ("name", "message"), [("bob", "no profile 'bob'"), ("misspelt", "consumer_keys")]
)
def test_a_profile_that_cannot_be_used(profiles, name, message):
    environment = {"XDG_CONFIG_HOME": str(profiles.parents[1])}
    with pytest.raises(ConfigurationError, match=message):
        load_profile(profile=name, environment=environment)


def test_the_profile_default_counts_if_nothing_else_is_set(profiles):
    environment = {"XDG_CONFIG_HOME": str(profiles.parents[1])}
    with pytest.raises(ConfigurationError, match="no URL"):  # alice is not asked for
        load_profile(environment=environment)
    profiles.write_text(f'[default]\nurl = "{URL}"\nbearer_token = "d"\n')
    assert load_profile(environment=environment).credentials.bearer_token == "d"
    given = load_profile("https://other.example", environment=environment)
    assert given.credentials == Credentials()
    mixed = load_profile(environment={**environment, "ENGAGEMENT_API_URL": URL})
    assert mixed.credentials == Credentials()


def test_a_file_of_variables_that_cannot_be_read(tmp_path):
    (tmp_path / ".env").write_bytes(b"\xff\xfeA")
    with pytest.raises(ConfigurationError, match=r"cannot read \.env"):
        load_profile(environment={})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_profiles_that_others_may_read_are_refused(profiles, mode):
    profiles.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_profile(profile="alice", environment={"XDG_CONFIG_HOME": str(profiles.parents[1])})


def test_a_damaged_file_of_profiles(profiles):
    profiles.write_text("[alice")
    with pytest.raises(ConfigurationError, match="not TOML"):
        load_profile(profile="alice", environment={"XDG_CONFIG_HOME": str(profiles.parents[1])})


def test_no_file_of_profiles():
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_profile(profile="alice", environment={"XDG_CONFIG_HOME": "nowhere"})


@cases(
    "given",
    [
        {"consumer_key": "x"},
        {"consumer_secret": "x"},
        {"access_token": "x", "access_token_secret": "x"},
        {"consumer_key": "x", "consumer_secret": "x", "access_token": "x"},
        {"bearer_token": "abc\n"},
        {"bearer_token": "a b"},
        {"platform_key": "k\u00e9y"},
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(given):
    with pytest.raises(ConfigurationError):
        Credentials(**given)


def test_secrets_are_not_shown():
    names = ("consumer_secret", "access_token", "access_token_secret", "bearer_token")
    secrets = {name: f"the_{name}" for name in (*names, "platform_key")}
    shown = repr(Credentials(consumer_key="known", **secrets))
    assert "known" in shown
    assert not [secret for secret in secrets.values() if secret in shown]


@cases(
    "url",
    [
        "http://metrics.example.com",
        "http://192.0.2.1:8080",
        "ftp://127.0.0.1",
        "metrics.example.com",
        "https://",
        "https://user:password@example.com",
        "https://example.com/?x=1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://[::1",
    ],
)
def test_urls_that_would_give_secrets_away_or_lead_nowhere(url):
    for make in (
        lambda: EngagementClient(url, Credentials(bearer_token="x")),
        lambda: PlatformClient(url, "key"),
    ):
        with pytest.raises(ConfigurationError):
            make()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", URL])
def test_urls_that_are_safe(url):
    EngagementClient(url, Credentials(bearer_token="x")).close()


def test_nothing_to_go_by(monkeypatch):
    with pytest.raises(ConfigurationError, match="ENGAGEMENT_API_URL"):
        EngagementClient()
    with (
        EngagementClient("http://127.0.0.1:9") as client,
        pytest.raises(ConfigurationError, match="no credentials"),
    ):
        client.totals(["1"], ["favorites"])
    monkeypatch.setenv("ENGAGEMENT_API_URL", URL)
    with pytest.raises(ConfigurationError, match="PLATFORM_KEY"):
        PlatformClient()
