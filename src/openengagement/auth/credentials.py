"""How credentials are made, kept and read: the one place that draws random secrets.

At rest: consumer and token secrets are needed in the clear to check an HMAC, so they are (Fernet:
AES-CBC and HMAC-SHA256) under keys of a file that is not part of the database. Bearer tokens and
platform keys are stored as SHA-256 of at least 256 random bits, which no guessing reverses. A
bearer token must come back unchanged until it is invalidated, so it is derived from the server's
key, the App ID and a generation number.
"""

import dataclasses
import hashlib
import hmac
import secrets
import string
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from openengagement.engagement.permissions import AccessLevel
from openengagement.files import write_private
from openengagement.registry.apps import App, AppForm
from openengagement.registry.grants import AccessToken, RequestToken
from openengagement.registry.registry import Registry

_ALPHABET: Final = string.ascii_letters + string.digits


class KeyFileError(Exception):
    """The key file cannot be used; the text says why and what to do."""


def hash_token(token: str) -> bytes:
    """What is stored of a bearer token, a platform key or a session's secret."""
    return hashlib.sha256(token.encode()).digest()


def _draw(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Keyring:
    """The server's keys, newest first: encrypts with the newest, reads with any.

    Those of a file are read anew when the file has changed, so that a rotation reaches the servers
    that run.
    """

    def __init__(self, keys: Sequence[bytes], *, path: Path | None = None) -> None:
        self._path = path
        self._seen = _stamp(path)
        self._use(keys)

    def _use(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def _refresh(self) -> None:
        stamp = _stamp(self._path)
        if self._path is not None and stamp is not None and stamp != self._seen:
            self._use(_read_key_file(self._path))
            self._seen = stamp

    def encrypt(self, secret: str) -> bytes:
        self._refresh()
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, stored: bytes) -> str:
        """The secret in the clear.

        Raises:
            KeyFileError: it was encrypted under a key that is not here.
        """
        self._refresh()
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
        self._refresh()
        text = f"{purpose}:{subject}".encode()
        digests = [hmac.digest(key, text, "sha256") for key in self._keys]
        return [urlsafe_b64encode(digest).decode().rstrip("=") for digest in digests]

    def derive_bearers(self, app: App) -> list[str]:
        """The app's bearer token of its present generation, under each key, newest key first."""
        self._refresh()
        subject = f"bearer:{app.id}:{app.bearer_generation}".encode()
        return [_bearer(hmac.digest(key, subject, "sha512")) for key in self._keys]


def _bearer(digest: bytes) -> str:
    # URL-safe, so that no client has to guess whether to decode it once more (api.md 4.7).
    return "AAAAAAAAAAAAAAAAAAAAA" + urlsafe_b64encode(digest).decode().rstrip("=")


def open_keyring(path: Path, environment: str = "") -> Keyring:
    """The keys of the environment, or of the key file, made (mode 0600) on the first start.

    `environment` holds keys with commas between, the newest first.

    Raises:
        KeyFileError: others may read the file, or there are no keys in it.
    """
    if environment:
        try:
            return Keyring([key.strip().encode() for key in environment.split(",")])
        except ValueError:
            raise KeyFileError(
                "OPENENGAGEMENT_SERVER_KEYS: write one or more keys, commas between; "
                "make one with: openengagement key generate"
            ) from None
    if not path.exists():
        # Without replacement: of two first starts at once, one key wins for both.
        write_private(path, Fernet.generate_key() + b"\n", replace=False)
    return Keyring(_read_key_file(path), path=path)


def generate_key() -> str:
    """A fresh key, as text."""
    return Fernet.generate_key().decode()


def add_key(path: Path) -> Keyring:
    """Put a fresh key before those of the key file. Only one at a time may change it."""
    keys = [Fernet.generate_key(), *_read_key_file(path)]
    write_private(path, b"".join(key + b"\n" for key in keys))
    return Keyring(keys, path=path)


def forget_old_keys(path: Path) -> None:
    """Leave but the newest key in the key file."""
    write_private(path, _read_key_file(path)[0] + b"\n")


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """What changes when a file is replaced; None where there is none."""
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _read_key_file(path: Path) -> list[bytes]:
    if path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path}: others may read this key file; run chmod 600 on it")
    keys = path.read_bytes().split()
    try:
        Keyring(keys)
    except ValueError:
        raise KeyFileError(f"{path}: is not a key file of this server") from None
    return keys


@dataclass(frozen=True, slots=True)
class NewApp:
    """A registered app with its secret in the clear, to be shown once."""

    app_id: int
    consumer_key: str
    consumer_secret: str


def issue_app(
    registry: Registry,
    keyring: Keyring,
    *,
    form: AppForm,
    now_s: int,
    apps_max: int | None = None,
) -> NewApp:
    """Register an app with a fresh API key and secret; `apps_max` is how many its owner may have.

    Raises:
        TooManyApps
    """
    key, secret = _draw_consumer()
    credentials = (key, keyring.encrypt(secret))
    app_id = registry.apps.add_app(form, credentials=credentials, now_s=now_s, apps_max=apps_max)
    return NewApp(app_id, key, secret)


def rotate_consumer(registry: Registry, keyring: Keyring, *, app_id: int) -> NewApp:
    """A fresh API key and secret for an app; the old pair and the bearer token die."""
    key, secret = _draw_consumer()
    registry.apps.replace_consumer(app_id, credentials=(key, keyring.encrypt(secret)))
    return NewApp(app_id, key, secret)


def _draw_consumer() -> tuple[str, str]:
    return _draw(25), _draw(50)


@dataclass(frozen=True, slots=True)
class Granted:
    """What an access token is issued for: an app, the account that gives it, and how much."""

    app_id: int
    account_id: int
    access_level: AccessLevel = AccessLevel.READ


def issue_access_token(
    registry: Registry, keyring: Keyring, *, granted: Granted, now_s: int
) -> tuple[str, str]:
    """The access token and secret of an account for an app: the live pair, or a fresh one.

    A live pair stays as it is, its access level too, until it is revoked (api.md 4.6, 5).
    """
    app_id, account_id = granted.app_id, granted.account_id
    live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    fresh = draw_access_token(keyring, granted)
    while live is None:
        if registry.grants.add_access_token(fresh, now_s=now_s):
            live = fresh
        else:
            live = registry.grants.read_access_token(app_id=app_id, account_id=account_id)
    return live.token, keyring.decrypt(live.secret)


def rotate_access_token(
    registry: Registry, keyring: Keyring, *, granted: Granted, now_s: int
) -> tuple[str, str]:
    """A fresh access token and secret of an account for an app; the old pair dies."""
    fresh = draw_access_token(keyring, granted)
    registry.grants.replace_access_token(fresh, now_s=now_s)
    return fresh.token, keyring.decrypt(fresh.secret)


def draw_access_token(keyring: Keyring, granted: Granted) -> AccessToken:
    """A fresh access token, kept nowhere yet."""
    return AccessToken(
        f"{granted.account_id}-{_draw(40)}",
        granted.app_id,
        granted.account_id,
        keyring.encrypt(_draw(45)),
        granted.access_level,
    )


def issue_request_token(
    registry: Registry, keyring: Keyring, *, asked: RequestToken, forget_before_s: int
) -> tuple[str, str]:
    """A fresh request token and secret; `asked` is what it shall be for, without either."""
    token, secret = _draw(27), _draw(32)
    made = dataclasses.replace(asked, token=token, secret=keyring.encrypt(secret))
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
    if registry.apps.set_bearer(app, generation=app.bearer_generation, bearer_hash=fresh):
        return derived[0]
    newer = registry.apps.read_app(app.id)
    if newer is None:
        raise LookupError(app.id)
    return issue_bearer(registry, keyring, app=newer)


def revoke_bearer(registry: Registry, app: App) -> None:
    """Kill the app's bearer token; the next one is of a new generation."""
    registry.apps.set_bearer(app, generation=app.bearer_generation + 1, bearer_hash=None)


def issue_platform_key(registry: Registry, *, name: str, now_s: int) -> str:
    """A fresh key for the platform's own calls, to be shown once."""
    key = f"oepk_{_draw(43)}"
    registry.platform_keys.add_platform_key(name=name, key_hash=hash_token(key), now_s=now_s)
    return key
