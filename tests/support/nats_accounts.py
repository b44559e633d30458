"""Keys and tokens (JWT) of an operator, an account and a user of NATS, as `nsc` makes them."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import nkeys

_PREFIXES = {"O": 14 << 3, "A": 0, "U": 20 << 3}
_NO_LIMITS = {"subs": -1, "data": -1, "payload": -1}
_STORAGE = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
_ACCOUNT = {**_NO_LIMITS, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}


class Key:
    """A key pair of an operator (O), an account (A) or a user (U)."""

    def __init__(self, kind: str) -> None:
        self.seed = nkeys.encode_seed(os.urandom(32), _PREFIXES[kind])
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self.pair.public_key.decode()

    def sign(self, subject: "Key", name: str, **claims: Any) -> str:
        """Return a token in which this key says something about another one."""
        body = {
            "jti": base64.b32encode(os.urandom(20)).decode(),
            "iat": int(time.time()),
            "iss": self.public,
            "name": name,
            "sub": subject.public,
            "nats": {"version": 2, **claims},
        }
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = ".".join(_encode(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{_encode(self.pair.sign(text.encode()))}"


def write_accounts(folder: Path) -> tuple[Path, Path]:
    """Write the configuration of a server, and the file of credentials of its user."""
    operator, system, account, user = Key("O"), Key("A"), Key("A"), Key("U")
    tokens = {
        account.public: operator.sign(
            account, "events", type="account", limits={**_ACCOUNT, **_STORAGE}
        ),
        system.public: operator.sign(system, "SYS", type="account", limits=_ACCOUNT),
    }
    resolved = "\n".join(f"{name}: {token}" for name, token in tokens.items())
    config = folder / "operator.conf"
    config.write_text(
        f"operator: {operator.sign(operator, 'operator', type='operator')}\n"
        f"system_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {{\n{resolved}\n}}\n"
    )
    token = account.sign(user, "consumer", type="user", pub={}, sub={}, **_NO_LIMITS)
    credentials = folder / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return config, credentials


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
