"""The server's TLS certificate: it is verified at the start, and before workers load it again."""

import ssl
from pathlib import Path


def verify_certificate(certificate: Path, key: Path) -> None:
    """Load a certificate chain and its private key, both PEM.

    Raises:
        OSError: a file cannot be read, is damaged or encrypted, or the two do not belong together.
            (`ssl.SSLError` is an OSError.)
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Without a password, OpenSSL would ask for the one of an encrypted key at the terminal.
    context.load_cert_chain(certificate, key, password=lambda: "")
