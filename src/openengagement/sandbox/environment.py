"""The environment variables and files with which an unmodified client reaches a sandbox."""

import shlex
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from openengagement.files import write_private

_HEAD: Final = """\
# Source this file in a shell. Clients of Twitter's API then reach the sandbox instead, through its
# forward proxy. The proxy refuses all other hosts. Requests to this machine do not use the proxy.
"""
_THIS_MACHINE: Final = "localhost,127.0.0.1,::1"
# Java requires a password for a trust store. It protects nothing: the certificate is public.
_TRUST_STORE_PASSWORD: Final = "changeit"


def client_environment(proxy: str, authority: Path, *, folder: Path) -> dict[str, str]:
    """Return the variables by name, for a proxy's URL and an authority's certificate (PEM).

    PHP and Java read the certificate from files of their own, which this writes into `folder`.
    Tools use different variables for the certificate. Some tools read the proxy variables in lower
    case only, or first. Ruby's Net::HTTP uses `http_proxy` for https:// URLs too.
    """
    certificate = str(authority)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_php_settings(folder / "php" / "sandbox.ini", certificate)
    trust_store = _write_trust_store(folder / "java.p12", authority)
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "http_proxy": proxy,
        "NO_PROXY": _THIS_MACHINE,
        "no_proxy": _THIS_MACHINE,
        "REQUESTS_CA_BUNDLE": certificate,  # Python's requests
        "SSL_CERT_FILE": certificate,  # Ruby, Go, Python's ssl and httpx
        "CURL_CA_BUNDLE": certificate,  # curl
        "NODE_EXTRA_CA_CERTS": certificate,  # Node
        "NODE_USE_ENV_PROXY": "1",  # Node 24 and newer; older ones need a proxy agent
        "PERL_LWP_SSL_CA_FILE": certificate,
        "PERL_LWP_ENV_PROXY": "1",  # otherwise LWP::UserAgent ignores the proxy variables
        # The empty part stands for PHP's usual folders.
        "PHP_INI_SCAN_DIR": f":{folder / 'php'}",
        "JAVA_TOOL_OPTIONS": _java_options(proxy, trust_store),
    }


def render_environment(variables: dict[str, str]) -> str:
    """Return the variables as a file that a shell can source."""
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return _HEAD + "".join(lines)


def _write_php_settings(path: Path, certificate: str) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # libcurl in PHP reads the proxy variables, but no variable for the certificate.
    settings = f'curl.cainfo="{certificate}"\nopenssl.cafile="{certificate}"\n'
    write_private(path, settings.encode())


def _write_trust_store(path: Path, authority: Path) -> Path:
    certificate = x509.load_pem_x509_certificate(authority.read_bytes())
    entry = pkcs12.PKCS12Certificate(certificate, b"open engagement sandbox")
    # The oldest algorithms, because Java 8 reads no others.
    weak = (
        PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(SHA1())  # noqa: S303
        .build(_TRUST_STORE_PASSWORD.encode())
    )
    write_private(path, pkcs12.serialize_java_truststore([entry], weak))
    return path


def _java_options(proxy: str, trust_store: Path) -> str:
    address = urlsplit(proxy)
    properties = {
        "https.proxyHost": address.hostname,
        "https.proxyPort": address.port,
        "javax.net.ssl.trustStore": trust_store,
        "javax.net.ssl.trustStoreType": "PKCS12",
        "javax.net.ssl.trustStorePassword": _TRUST_STORE_PASSWORD,
    }
    options = (f"-D{name}={value}" for name, value in properties.items())
    # The JVM splits this variable at white space outside quotes, and has no escapes.
    return " ".join(f'"{option}"' if " " in option else option for option in options)
