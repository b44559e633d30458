"""How credentials are made, kept and read: the one place that draws random secrets.

At rest: consumer and token secrets are needed in the clear to check an HMAC, so they are (Fernet:
AES-CBC and HMAC-SHA256) under keys of a file that is not part of the database. Bearer tokens and
platform keys are stored as SHA-256 of at least 256 random bits, which no guessing reverses. A
bearer token must come back unchanged until it is invalidated, so it is derived from the server's
key, the App ID and a generation number.
"""

import hashlib
import hmac
import os
import secrets
import string
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from openengagement.registry.grants import AccessToken, RequestToken
from openengagement.registry.registry import App, AppForm, Registry

_ALPHABET: Final = string.ascii_letters + string.digits


class KeyFileError(Exception):
    """The key file cannot be used; the text says why and what to do."""


def hash_token(token: str) -> bytes:
    """What is stored of a bearer token or a platform key."""
    return hashlib.sha256(token.encode()).digest()


def _draw(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Keyring:
    """The server's keys, newest first: encrypts with the newest, reads with any."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: str) -> bytes:
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """The secret in the clear.

        Raises:
            KeyFileError: it was encrypted under a key that is not here.
        """
        try:
            return self._fernet.decrypt(stored).decode()
        except InvalidToken:
            raise KeyFileError(
                "a stored secret does not open with the keys of this server"
            ) from None

    def tags(self, purpose: str, subject: str) -> list[str]:
        """Proofs that this server once said `subject` for `purpose`, under each key, newest first.

        URL-safe text; compare with `hmac.compare_digest`.
        """
        text = f"{purpose}:{subject}".encode()
        digests = [hmac.digest(key, text, "sha256") for key in self._keys]
        return [urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests]

    def derive_bearers(self, app: App) -> list[str]:
        """The app's bearer token of its present generation, under each key, newest key first."""
        subject = f"bearer:{app.id}:{app.bearer_generation}".encode()
        return [_bearer(hmac.digest(key, subject, "sha512")) for key in self._keys]


def _bearer(digest: bytes) -> str:
    # URL-safe, so that no client has to guess whether to decode it once more (contract 4.7).
    return "AAAAAAAAAAAAAAAAAAAAA" + urlsafe_b64encode(digest).decode().rstrip("=")


def open_keyring(path: Path) -> Keyring:
    """Read the key file, making it (mode 0600) on the first start.

    Raises:
        KeyFileError: others may read it, or it does not hold keys.
    """
    if not path.exists():
        _write_key_file(path)
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path}: others may read this key file; run chmod 600 on it")
    keys = path.read_bytes().split()
    try:
        return Keyring(keys)
    except ValueError:
        raise KeyFileError(f"{path}: is not a key file of this server") from None


def _write_key_file(path: Path) -> None:
    # Written aside and linked into place: of two first starts at once, one key wins for both.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    aside = Path(name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


@dataclass(frozen=True, slots=True)
class NewApp:
    """A registered app with its secret in the clear, to be shown once."""

    app_id: int
    consumer_key: str
    consumer_secret: str


def issue_app(registry: Registry, keyring: Keyring, *, form: AppForm, now_s: int) -> NewApp:
    """Register an app with a fresh API key and secret."""
    key, secret = _draw(25), _draw(50)
    app_id = registry.add_app(form, credentials=(key, keyring.encrypt(secret)), now_s=now_s)
    return NewApp(app_id, key, secret)


@dataclass(frozen=True, slots=True)
class Granted:
    """What an access token is issued for: an app, the account that gives it, and how much."""

    app_id: int
    account_id: int
    access_level: str = "read"


def issue_access_token(
    registry: Registry, keyring: Keyring, *, granted: Granted, now_s: int
) -> tuple[str, str]:
    """The access token and secret of an account for an app: the live pair, or a fresh one.

    A live pair stays as it is, its access level too, until it is revoked (contract 4.6, 5).
    """
    app_id, account_id = granted.app_id, granted.account_id
    token, secret = f"{account_id}-{_draw(40)}", _draw(45)
    encrypted = keyring.encrypt(secret)
    fresh = AccessToken(token, app_id, account_id, encrypted, granted.access_level)
    live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    while live is None:
        if registry.grants.add_access_token(fresh, now_s=now_s):
            return token, secret
        live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    return live.token, keyring.decrypt(live.secret)


def issue_request_token(
    registry: Registry, keyring: Keyring, *, asked: RequestToken, forget_before_s: int
) -> tuple[str, str]:
    """A fresh request token and secret; `asked` is what it shall be for, without either."""
    token, secret = _draw(27), _draw(32)
    made = replace(asked, token=token, secret=keyring.encrypt(secret))
    registry.grants.add_request_token(made, forget_before_s=forget_before_s)
    return token, secret


def draw_verifier(*, pin: bool) -> str:
    """A verifier for a callback, or seven digits for a person to carry."""
    return f"{secrets.randbelow(10**7):07}" if pin else _draw(32)


def draw_session() -> tuple[str, str]:
    """A session's secret, for the browser's cookie, and the id that names it in public."""
    return _draw(43), _draw(16)


def draw_cookie() -> str:
    """A secret for a cookie of somebody who is not signed in."""
    return _draw(43)


def issue_bearer(registry: Registry, keyring: Keyring, *, app: App) -> str:
    """The app's bearer token: the live one, or the first of its present generation."""
    derived = keyring.derive_bearers(app)
    for token in derived:
        if app.bearer_hash is not None and hmac.compare_digest(hash_token(token), app.bearer_hash):
            return token
    # A process that is quicker stores the very same token: it is derived, not drawn.
    fresh = hash_token(derived[0])
    if registry.set_bearer(app, generation=app.bearer_generation, bearer_hash=fresh):
        return derived[0]
    newer = registry.read_app(app.id)
    if newer is None:
        raise LookupError(app.id)
    return issue_bearer(registry, keyring, app=newer)


def revoke_bearer(registry: Registry, app: App) -> None:
    """Kill the app's bearer token; the next one is of a new generation."""
    registry.set_bearer(app, generation=app.bearer_generation + 1, bearer_hash=None)


def issue_platform_key(registry: Registry, *, name: str, now_s: int) -> str:
    """A fresh key for the platform's own calls, to be shown once."""
    key = f"oepk_{_draw(43)}"
    registry.add_platform_key(name=name, key_hash=hash_token(key), now_s=now_s)
    return key
