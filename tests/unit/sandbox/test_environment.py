"""The files that PHP and Java read, and the variables that name them."""

import configparser
import shlex
import subprocess
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from openengagement.sandbox.certificate_authority import open_certificates
from openengagement.sandbox.environment import client_environment, render_environment

PROXY = "http://127.0.0.1:8443"


@pytest.fixture(params=["plain", "with a space"])
def made(request, tmp_path):
    """The variables, the folder of the files, and the authority's certificate."""
    folder = tmp_path / request.param
    now = datetime(2026, 11, 28, tzinfo=UTC)
    authority = open_certificates(folder / "authority", ["api.twitter.com"], now=now).authority
    return client_environment(PROXY, authority, folder=folder / "intercept"), folder, authority


def test_phps_settings(made):
    variables, folder, authority = made
    inherited, added = variables["PHP_INI_SCAN_DIR"].split(":")
    assert inherited == "", "the empty part stands for PHP's own folders"
    (file,) = (folder / "intercept" / "php").iterdir()
    assert (str(file.parent), file.suffix) == (added, ".ini")
    parsed = configparser.ConfigParser()
    parsed.read_string(f"[php]\n{file.read_text()}")
    assert dict(parsed["php"]) == dict.fromkeys(("curl.cainfo", "openssl.cafile"), f'"{authority}"')


def test_javas_options(made):
    variables, folder, _ = made
    options = dict(each[2:].split("=", 1) for each in shlex.split(variables["JAVA_TOOL_OPTIONS"]))
    assert options == {
        "https.proxyHost": "127.0.0.1",
        "https.proxyPort": "8443",
        "javax.net.ssl.trustStore": str(folder / "intercept" / "java.p12"),
        "javax.net.ssl.trustStoreType": "PKCS12",
        "javax.net.ssl.trustStorePassword": "changeit",
    }


def test_javas_trust_store_holds_the_authority_alone(made):
    _, folder, authority = made
    store = folder / "intercept" / "java.p12"
    opened = pkcs12.load_pkcs12(store.read_bytes(), b"changeit")
    assert (opened.key, opened.cert) == (None, None)
    (entry,) = opened.additional_certs
    assert entry.certificate == x509.load_pem_x509_certificate(authority.read_bytes())


def test_java_takes_the_entry_for_a_trusted_one(made):
    """Without this attribute of Oracle's, Java ignores a certificate in PKCS #12."""
    _, folder, _ = made
    store = folder / "intercept" / "java.p12"
    done = subprocess.run(
        ["openssl", "pkcs12", "-legacy", "-nokeys", "-passin", "pass:changeit", "-in", store],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2.16.840.1.113894.746875.1.1" in done.stdout


def test_the_files_are_made_again_for_a_new_authority(made):
    _, folder, authority = made
    (authority.parent / "ca.key").unlink()
    later = datetime(2026, 11, 29, tzinfo=UTC)
    authority = open_certificates(authority.parent, ["api.twitter.com"], now=later).authority
    client_environment(PROXY, authority, folder=folder / "intercept")
    opened = pkcs12.load_pkcs12((folder / "intercept" / "java.p12").read_bytes(), b"changeit")
    expected = x509.load_pem_x509_certificate(authority.read_bytes())
    assert opened.additional_certs[0].certificate == expected


def test_the_files_are_private(made):
    _, folder, _ = made
    files = [path for path in (folder / "intercept").rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 2


def test_a_shell_reads_the_variables(made):
    variables, _, _ = made
    script = render_environment(variables) + "exec env -0"
    done = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, check=True, env={})
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    assert {name: found[name] for name in variables} == variables
