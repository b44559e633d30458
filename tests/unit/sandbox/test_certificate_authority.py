"""The sandbox's certificate authority: clients accept its certificate, and it can sign no other."""

import os
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openengagement.sandbox.certificate_authority import (
    AUTHORITY_LASTS,
    RENEWAL_MARGIN,
    AuthorityError,
    open_certificates,
)
from openengagement.sandbox.forward_proxy import HOSTS

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
OPENSSL = shutil.which("openssl")
NAMES = ("ca.pem", "ca.key", "leaf.pem", "leaf.key")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "authority"


@pytest.fixture
def made(folder):
    return open_certificates(folder, HOSTS, now=NOW)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in NAMES}


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def shake_hands(certificates, host, *, leaf=None, leaf_key=None):
    """Do a TLS handshake in memory with a strict client that trusts only this authority."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    trusting.load_verify_locations(certificates.authority)
    showing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    showing.load_cert_chain(leaf or certificates.leaf, leaf_key or certificates.leaf_key)
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    client = trusting.wrap_bio(pipes[0], pipes[1], server_hostname=host)
    server = showing.wrap_bio(pipes[1], pipes[0], server_side=True)
    sides = [client, server]
    for _ in range(10):
        for side in tuple(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert sides == []


# The certificate.


@pytest.mark.parametrize("host", HOSTS)
def test_strict_clients_accept_the_certificate(made, host):
    shake_hands(made, host)


@pytest.mark.parametrize("host", ["twitter.com", "example.com", "127.0.0.1", "a.api.x.com"])
def test_the_certificate_is_for_no_other_host(made, host):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shake_hands(made, host)


def test_lifetimes_are_short_enough_for_clients(made):
    authority, leaf = read(made.authority), read(made.leaf)
    assert authority.not_valid_after_utc - authority.not_valid_before_utc <= 3650 * DAY
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < 398 * DAY
    assert authority.not_valid_before_utc < NOW
    assert leaf.not_valid_before_utc < NOW


def test_other_users_cannot_read_the_files(made, folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {name: (folder / name).stat().st_mode & 0o777 for name in NAMES} == dict.fromkeys(
        NAMES, 0o600
    )
    assert sorted(os.listdir(folder)) == sorted(NAMES)  # noqa: PTH208


def test_files_are_private_with_any_umask(folder):
    before = os.umask(0)
    try:
        open_certificates(folder, HOSTS, now=NOW)
    finally:
        os.umask(before)
    test_other_users_cannot_read_the_files(None, folder)


# What a stolen key can sign.


@pytest.fixture
def thief(made):
    """The stolen authority."""
    secret = made.authority.with_name("ca.key").read_bytes()
    return read(made.authority), load_pem_private_key(secret, None)


def sign(issuer, *names, ca=False, usage=ExtendedKeyUsageOID.SERVER_AUTH):
    """A certificate signed with the stolen key, and its own key."""
    key = ec.generate_private_key(ec.SECP256R1())
    identified = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
    builder = (
        x509.CertificateBuilder()
        .issuer_name(issuer[0].subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "thief")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, False, False, False),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(identified, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer[1], SHA256()), key


def write(folder, key, *certificates):
    chain, secret = folder / "chain.pem", folder / "chain.key"
    chain.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"leaf": chain, "leaf_key": secret}


FORBIDDEN = {
    "example.com": [x509.DNSName("example.com")],
    "twitter.com": [x509.DNSName("twitter.com")],
    "upload.twitter.com": [x509.DNSName("upload.twitter.com")],
    "evilapi.twitter.com": [x509.DNSName("evilapi.twitter.com")],
    "127.0.0.1": [x509.IPAddress(ip_address("127.0.0.1"))],
    "::1": [x509.IPAddress(ip_address("::1"))],
    "api.x.com": [x509.DNSName("api.x.com"), x509.DNSName("example.com")],
}


@pytest.mark.parametrize("host", FORBIDDEN)
def test_a_stolen_key_cannot_sign_for_other_hosts(made, thief, tmp_path, host):
    stolen, key = sign(thief, *FORBIDDEN[host])
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        shake_hands(made, host, **write(tmp_path, key, stolen))


def test_a_stolen_key_can_sign_for_its_own_hosts(made, thief, tmp_path):
    """Otherwise the other tests would prove nothing."""
    stolen, key = sign(thief, x509.DNSName("api.x.com"))
    shake_hands(made, "api.x.com", **write(tmp_path, key, stolen))


def test_a_stolen_key_cannot_create_another_authority(made, thief, tmp_path):
    below = sign(thief, ca=True)
    leaf, key = sign(below, x509.DNSName("api.x.com"))
    with pytest.raises(ssl.SSLCertVerificationError, match="path length"):
        shake_hands(made, "api.x.com", **write(tmp_path, key, leaf, below[0]))


@pytest.mark.heavy
@pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed")
def test_openssl_agrees(made, thief, tmp_path):
    def verify(leaf, purpose="sslserver"):
        command = [OPENSSL, "verify", "-x509_strict", "-purpose", purpose]
        command += ["-CAfile", made.authority, leaf]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert verify(made.leaf)[0] == 0
    for names in FORBIDDEN.values():
        stolen, key = sign(thief, *names)
        code, text = verify(write(tmp_path, key, stolen)["leaf"])
        assert code != 0
        assert "subtree violation" in text
    stolen, key = sign(thief, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert verify(write(tmp_path, key, stolen)["leaf"], "sslclient")[0] != 0


# Between starts.


def test_the_files_are_kept_between_starts(made, folder):
    before = contents(folder)
    assert open_certificates(folder, HOSTS, now=NOW + 300 * DAY) == made
    assert contents(folder) == before


def test_the_certificate_is_renewed_before_it_ends(made, folder):
    before = contents(folder)
    now = NOW + 370 * DAY
    open_certificates(folder, HOSTS, now=now)
    after = contents(folder)
    assert {name for name in NAMES if after[name] == before[name]} == {"ca.pem", "ca.key"}
    assert read(made.leaf).not_valid_after_utc > now + 390 * DAY


def test_the_authority_is_renewed_before_it_ends(made, folder):
    now = NOW + AUTHORITY_LASTS - RENEWAL_MARGIN
    before = contents(folder)
    open_certificates(folder, HOSTS, now=now)
    after = contents(folder)
    assert not {name for name in NAMES if after[name] == before[name]}
    assert read(made.authority).not_valid_after_utc > now + 3649 * DAY


def test_the_certificate_does_not_outlive_its_authority(made, folder):
    open_certificates(folder, HOSTS, now=NOW + AUTHORITY_LASTS - 2 * RENEWAL_MARGIN)
    assert read(made.leaf).not_valid_after_utc == read(made.authority).not_valid_after_utc


def test_a_clock_set_back_replaces_the_files(made, folder):
    """Certificates that are not yet valid are replaced."""
    before = contents(folder)
    open_certificates(folder, HOSTS, now=NOW - DAY)
    assert not {name for name in NAMES if contents(folder)[name] == before[name]}


def test_other_hosts_need_another_authority(made, folder):
    before = contents(folder)
    open_certificates(folder, HOSTS[:2], now=NOW)
    assert not {name for name in NAMES if contents(folder)[name] == before[name]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["missing", "empty", "text", "another's"])
def test_damaged_files_are_replaced(made, folder, tmp_path, name, damage):
    other = open_certificates(tmp_path / "other", HOSTS, now=NOW).authority.parent
    before = contents(folder)
    path = folder / name
    damaged = {"empty": b"", "text": b"x\n", "another's": (other / name).read_bytes()}
    path.unlink() if damage == "missing" else path.write_bytes(damaged[damage])
    open_certificates(folder, HOSTS, now=NOW)
    shake_hands(made, HOSTS[0])
    kept = {name for name in NAMES if contents(folder)[name] == before[name]}
    assert kept == (set() if name.startswith("ca") else {"ca.pem", "ca.key"})


def test_a_certificate_of_another_authority_is_replaced(made, folder, tmp_path):
    """A valid pair, but not signed by this authority."""
    other = open_certificates(tmp_path / "other", HOSTS, now=NOW)
    for name in ("leaf.pem", "leaf.key"):
        shutil.copy(other.leaf.with_name(name), folder / name)
    open_certificates(folder, HOSTS, now=NOW)
    shake_hands(made, HOSTS[0])


@pytest.mark.parametrize("name", ["ca.key", "leaf.key"])
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620])
def test_keys_that_other_users_may_read_are_refused(made, folder, name, mode):
    (folder / name).chmod(mode)
    with pytest.raises(
        AuthorityError, match=f"{name}: other users may read this key; run chmod 600"
    ):
        open_certificates(folder, HOSTS, now=NOW)


def test_files_left_by_a_crash_are_removed(made, folder):
    before = contents(folder)
    for name in NAMES:
        (folder / f".{name}.x1y2.new").write_bytes(b"half")
    for name in NAMES:
        (folder / name).unlink()
    open_certificates(folder, HOSTS, now=NOW)
    assert contents(folder) != before
    assert sorted(os.listdir(folder)) == sorted(NAMES)  # noqa: PTH208
