"""The certificate authority of a sandbox, and the certificate of the sandbox's HTTPS server.

Clients trust the authority while they talk to a sandbox, so a stolen key must be of little use. The
authority can sign for the given hosts and for no other name or address, for servers only, and for
no further authority (RFC 5280, 4.2.1.9, 4.2.1.10 and 4.2.1.12).

The files stay when the sandbox stops, so clients need to trust the authority only once. A file that
is missing, damaged, made for other hosts or about to expire is replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openengagement.files import remove_temporary, write_private

AUTHORITY_LASTS: Final = timedelta(days=3650)
LEAF_LASTS: Final = timedelta(days=397)  # some clients refuse more than 398
RENEWAL_MARGIN: Final = timedelta(days=30)
_BACKDATED: Final = timedelta(hours=1)  # in case a client's clock is slow
_KEY_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_ANY_ADDRESS: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class AuthorityError(Exception):
    """A file of the authority cannot be used. The text says why and what to change."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority that clients trust, the server's certificate and its key."""

    authority: Path
    leaf: Path
    leaf_key: Path


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def open_certificates(folder: Path, hosts: Sequence[str], *, now: datetime) -> Certificates:
    """Open the authority of a folder and its certificate for the hosts; create missing files.

    Raises:
        OSError: the folder cannot be used.
        AuthorityError: other users may read a key in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _read(folder, "ca")
    if authority is None or not _is_authority_for(authority.certificate, hosts, now=now):
        authority = _make_authority(hosts, now=now)
        _write(folder, "ca", pair=authority)
    leaf = _read(folder, "leaf")
    if leaf is None or not _is_leaf_for(leaf.certificate, hosts, authority=authority, now=now):
        _write(folder, "leaf", pair=_make_leaf(hosts, authority, now=now))
    return Certificates(folder / "ca.pem", folder / "leaf.pem", folder / "leaf.key")


def _is_authority_for(
    certificate: x509.Certificate, hosts: Sequence[str], *, now: datetime
) -> bool:
    try:
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return limits == _constraints(hosts) and _is_current(certificate, now)


def _is_leaf_for(
    certificate: x509.Certificate, hosts: Sequence[str], *, authority: _Pair, now: datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (InvalidSignature, TypeError, ValueError, x509.ExtensionNotFound):
        return False
    return names == _alternative_names(hosts) and _is_current(certificate, now)


def _is_current(certificate: x509.Certificate, now: datetime) -> bool:
    return (
        certificate.not_valid_before_utc <= now
        and certificate.not_valid_after_utc - now >= RENEWAL_MARGIN
    )


def _make_authority(hosts: Sequence[str], *, now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Open Engagement sandbox authority")
    begins = now - _BACKDATED
    builder = (
        _begin(key, issuer=name, subject=name)
        .not_valid_before(begins)
        .not_valid_after(begins + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign"), critical=True)
        .add_extension(_constraints(hosts), critical=True)
        .add_extension(_identified_by(key), critical=False)
    )
    return _Pair(builder.sign(key, SHA256()), key)


def _make_leaf(hosts: Sequence[str], authority: _Pair, *, now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    begins = now - _BACKDATED
    builder = (
        _begin(key, issuer=issuer.subject, subject=_name("Open Engagement sandbox"))
        .not_valid_before(max(begins, issuer.not_valid_before_utc))
        .not_valid_after(min(begins + LEAF_LASTS, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage("digital_signature"), critical=True)
        .add_extension(_alternative_names(hosts), critical=False)
        .add_extension(_identified_by(authority.key), critical=False)
    )
    return _Pair(builder.sign(authority.key, SHA256()), key)


def _begin(
    key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name, subject: x509.Name
) -> x509.CertificateBuilder:
    """Start a certificate with the fields that both certificates share."""
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])


def _constraints(hosts: Sequence[str]) -> x509.NameConstraints:
    """Allow the hosts and no address. RFC 5280 allows every kind of name that is not restricted."""
    return x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(host) for host in hosts],
        excluded_subtrees=[x509.IPAddress(network) for network in _ANY_ADDRESS],
    )


def _identified_by(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(usage: str) -> x509.KeyUsage:
    """Allow one of the _KEY_USAGES and no other."""
    return x509.KeyUsage(**{name: name == usage for name in _KEY_USAGES})


def _read(folder: Path, name: str) -> _Pair | None:
    """Read a certificate and its key; None if one is missing or damaged, or they do not match."""
    path = folder / f"{name}.key"
    try:
        if path.stat().st_mode & 0o077:
            raise AuthorityError(
                f"{path}: other users may read this key; run chmod 600 on it, or remove it"
            )
        key = load_pem_private_key(path.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    except (FileNotFoundError, TypeError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return _Pair(certificate, key) if key.public_key() == certificate.public_key() else None


def _write(folder: Path, name: str, *, pair: _Pair) -> None:
    key = pair.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = pair.certificate.public_bytes(Encoding.PEM)
    for path, content in ((folder / f"{name}.key", key), (folder / f"{name}.pem", certificate)):
        remove_temporary(path)
        write_private(path, content)
