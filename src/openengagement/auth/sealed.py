"""Values in a cookie that only this server can read or make (Fernet: encrypted and signed)."""

from typing import Generic, TypeVar

import msgspec

from openengagement.auth.keyring import KeyFileError, Keyring

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


class Sealed(Generic[_Kind]):
    """Seals and opens values of one type.

    Every type needs its own msgspec tag: a value sealed as one type does not open as another.
    A sealed value has no age limit. Put a time into the type if it needs one.
    """

    def __init__(self, keyring: Keyring, kind: type[_Kind]) -> None:
        self._keyring = keyring
        self._kind = kind

    def seal(self, value: _Kind) -> str:
        """Encrypt a value. The text is URL-safe and has about 4/3 of the value's JSON plus 100."""
        return self._keyring.encrypt(msgspec.json.encode(value).decode()).decode().rstrip("=")

    def open(self, text: str) -> _Kind | None:
        """Decrypt a value; None for any text that was not sealed as this type on this server."""
        try:
            decrypted = self._keyring.decrypt(f"{text}{'=' * (-len(text) % 4)}".encode())
            return msgspec.json.decode(decrypted, type=self._kind)
        except (KeyFileError, msgspec.DecodeError, UnicodeError):
            return None
