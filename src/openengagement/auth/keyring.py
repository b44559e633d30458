"""The server's keys: they encrypt secrets at rest, and derive tokens and proofs.

Encryption is Fernet (AES-128-CBC and HMAC-SHA256). The keys live in a key file outside the
database, or in the environment.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from openengagement.files import UnusableFile, write_private
from openengagement.registry.apps import App
from openengagement.telemetry import log_failure


class KeyFileError(UnusableFile):
    """The key file cannot be used, or its keys do not fit."""


class Keyring:
    """The server's keys, newest first. The newest one encrypts; any of them decrypts.

    With `path`, the keys are read again when the key file changes, so that a rotation reaches
    running servers. If it then cannot be used, the keys stay as they are.
    """

    def __init__(self, keys: Sequence[bytes], *, path: Path | None = None) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._use(keys)

    def _use(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def _reload(self) -> None:
        stamp = _stamp(self._path)
        if self._path is not None and stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            try:
                self._use(read_key_file(self._path))
            except (KeyFileError, OSError) as error:
                # A running server keeps the keys that it has. `verify_file` reports the fault.
                log_failure("key_file_unusable", error)

    def verify_file(self) -> None:
        """Verify that the key file, if there is one, still has usable keys.

        Raises:
            KeyFileError, OSError: it cannot be used. This object keeps the keys that it read last.
        """
        if self._path is not None:
            read_key_file(self._path)

    def encrypt(self, secret: str) -> bytes:
        """Encrypt a secret with the newest key. The result is URL-safe ASCII."""
        self._reload()
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """Decrypt what `encrypt` returned.

        Raises:
            KeyFileError: no key of this server fits, or the text was changed.
        """
        self._reload()
        try:
            return self._fernet.decrypt(stored).decode()
        except InvalidToken:
            raise KeyFileError(
                "a stored secret cannot be decrypted with the keys of this server"
            ) from None

    def decrypts(self, stored: bytes) -> bool:
        """Whether a key of this server decrypts a secret."""
        try:
            self.decrypt(stored)
        except KeyFileError:
            return False
        return True

    def tags(self, purpose: str, subject: str) -> list[str]:
        """Compute an HMAC-SHA256 tag of a subject under each key, the newest key first.

        A matching tag proves that this server tagged the subject for the same purpose. Tags are
        URL-safe; compare them with `hmac.compare_digest`.
        """
        self._reload()
        text = f"{purpose}:{subject}".encode()
        digests = [hmac.digest(key, text, "sha256") for key in self._keys]
        return [urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests]

    def derive_bearers(self, app: App) -> list[str]:
        """Derive the bearer token of the app's current generation, under each key, newest first."""
        self._reload()
        subject = f"bearer:{app.id}:{app.bearer_generation}".encode()
        return [_format_bearer(hmac.digest(key, subject, "sha512")) for key in self._keys]


def _format_bearer(digest: bytes) -> str:
    # URL-safe: clients disagree on whether to percent-decode a bearer token (api.md 4.7).
    return "AAAAAAAAAAAAAAAAAAAAA" + urlsafe_b64encode(digest).decode().rstrip("=")


def open_keyring(path: Path, environment: str = "") -> Keyring:
    """Open the keys of the environment or, if it has none, of the key file.

    A missing key file is created with one key and mode 0600. `environment` holds keys separated by
    commas, the newest first.

    Raises:
        KeyFileError: other users may read the file, or it holds no keys.
    """
    if environment:
        try:
            return Keyring([key.strip().encode() for key in environment.split(",")])
        except ValueError:
            raise KeyFileError(
                "OPENENGAGEMENT_SERVER_KEYS: write one or more keys, separated by commas; "
                "make one with: openengagement key generate"
            ) from None
    if not path.exists():
        # Without replacement: if two servers start for the first time, both use the same key.
        write_private(path, Fernet.generate_key() + b"\n", replace=False)
    return Keyring(read_key_file(path), path=path)


def generate_key() -> str:
    """Generate a key, as text."""
    return Fernet.generate_key().decode()


def add_key(path: Path) -> Keyring:
    """Add a new key to the front of the key file. The caller must hold the lock on key changes."""
    keys = [Fernet.generate_key(), *read_key_file(path)]
    write_private(path, b"".join(key + b"\n" for key in keys))
    return Keyring(keys, path=path)


def remove_old_keys(path: Path) -> None:
    """Remove all keys but the newest from the key file."""
    write_private(path, read_key_file(path)[0] + b"\n")


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """Return a value that changes when the file is replaced; None if there is no file."""
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def read_key_file(path: Path) -> list[bytes]:
    """Read the keys of a key file, newest first.

    Raises:
        KeyFileError: other users may read it, or it holds no keys.
    """
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path}: other users may read this key file; run chmod 600 on it")
    keys = path.read_bytes().split()
    try:
        Keyring(keys)
    except ValueError:
        raise KeyFileError(
            f"{path} is not a key file of this server. Nothing was changed. Put the file of a "
            "backup back"
        ) from None
    return keys
