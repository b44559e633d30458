"""The provider's settings: all or none, and only values that can work."""

import subprocess

import pytest

from openengagement.settings import Settings, SettingsError
from support.cases import cases
from support.cli import EXECUTABLE, server_environment
from support.waiting import PATIENCE_S

WHOLE = {
    "oidc_issuer": "https://login.example/realm/",
    "oidc_client_id": "engagement",
    "oidc_client_secret": "made up",
}


def test_nothing_is_set_by_default():
    assert (Settings().oidc_secret, Settings().oidc_shown_name) == ("", None)
    assert Settings().password_sign_in is True


def test_the_default_name_is_the_host():
    assert Settings(**WHOLE).oidc_shown_name == "login.example"
    assert Settings(**WHOLE, oidc_name="Harbour ID").oidc_shown_name == "Harbour ID"


@pytest.mark.parametrize("missing", WHOLE)
def test_a_missing_setting_is_refused(missing):
    given = {name: value for name, value in WHOLE.items() if name != missing}
    with pytest.raises(SettingsError, match=r"OIDC_ISSUER, OIDC_CLIENT_ID.*all three or none"):
        Settings(**given)
    with pytest.raises(SettingsError, match="all three or none"):
        Settings(**{missing: WHOLE[missing]})


@cases(
    "issuer",
    [
        "http://login.example",
        "login.example",
        "https://",
        "ftp://login.example",
        "https://login.example/?realm=1",
        "https://login.example/#x",
        "https://user@login.example",
        "https://login.example:port",
        "https://login example",
        "http://127.0.0.1.login.example",
        "HTTPS //",
    ],
)
def test_an_issuer_is_a_plain_https_url(issuer):
    with pytest.raises(SettingsError, match="OPENENGAGEMENT_OIDC_ISSUER: write an https URL"):
        Settings(**{**WHOLE, "oidc_issuer": issuer})


@pytest.mark.parametrize("host", ["127.0.0.1:9400", "localhost", "[::1]:9400"])
def test_plain_http_is_accepted_on_this_machine(host):
    assert Settings(**{**WHOLE, "oidc_issuer": f"http://{host}"}).oidc_secret == "made up"


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"oidc_scope": "profile"}, "OIDC_SCOPE"), ({"oidc_account_claim": ""}, "ACCOUNT_CLAIM")],
)
def test_invalid_values_are_refused(changes, text):
    with pytest.raises(SettingsError, match=text):
        Settings(**WHOLE, **changes)


def test_the_secret_is_read_from_a_file(tmp_path):
    file = tmp_path / "secret"
    given = {**WHOLE, "oidc_client_secret": "", "oidc_client_secret_file": str(file)}
    with pytest.raises(SettingsError, match=r"OIDC_CLIENT_SECRET_FILE: .*cannot be read"):
        Settings(**given)
    file.write_text(" \n")
    with pytest.raises(SettingsError, match="is empty"):
        Settings(**given)
    file.write_text("made up\n")
    assert Settings(**given).oidc_secret == "made up"
    with pytest.raises(SettingsError, match="also set in the environment"):
        Settings(**{**given, "oidc_client_secret": "made up"})


def test_the_secret_is_not_in_the_repr():
    assert "made up" not in repr(Settings(**WHOLE))


def test_the_server_does_not_start_with_incomplete_settings(tmp_path):
    done = subprocess.run(
        [str(EXECUTABLE), "--data", str(tmp_path), "serve", "--port", "9"],
        capture_output=True,
        text=True,
        check=False,
        env=server_environment({"oidc_client_id": "engagement"}),
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert "OPENENGAGEMENT_OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET" in done.stderr
