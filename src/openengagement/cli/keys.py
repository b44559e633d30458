"""`openengagement key`: the keys that encrypt stored secrets."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from openengagement.auth.keyring import (
    KeyFileError,
    Keyring,
    add_key,
    generate_key,
    remove_old_keys,
)
from openengagement.cli.common import Json, fail, open_folder, read_settings, show
from openengagement.data_folder import KEY_FILE
from openengagement.files import hold_lock, remove_temporary
from openengagement.registry.database import WRITE_TIMEOUT_S
from openengagement.registry.encrypted import reencrypt_secrets

key = typer.Typer(help="The keys that encrypt stored secrets.", no_args_is_help=True)

GRACE_S = WRITE_TIMEOUT_S + 2
FORGOTTEN = "The old keys are deleted and all bearer tokens are revoked; apps must fetch new ones."
FORGOTTEN_OUTSIDE = (
    "All bearer tokens are revoked; apps must fetch new ones. Now remove the old keys from "
    "OPENENGAGEMENT_SERVER_KEYS and restart the server."
)
KEPT = "The old keys are kept. After a leak, run this again with --forget-old."


@key.command("generate")
def generate(json: Json = False) -> None:
    """Print a new key for OPENENGAGEMENT_SERVER_KEYS. Change nothing."""
    new = generate_key()
    if json:
        show({"key": new}, as_json=True)
    else:
        typer.echo(new)


@key.command("rotate")
def rotate(
    context: typer.Context,
    forget_old: Annotated[
        bool,
        typer.Option(
            "--forget-old",
            help="Delete the old keys, as after a leak; this revokes all bearer tokens.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Encrypt all stored secrets again with a new key. Servers may be running.

    If OPENENGAGEMENT_SERVER_KEYS is set: put a new key in front of the others, restart the
    server, then run this.
    """
    data: Path = context.obj
    in_file = not read_settings().server_keys
    with open_folder(context, existing=True) as folder, _only_rotation(data):
        database = folder.registry.database
        keyring: Keyring = add_key(data / KEY_FILE) if in_file else folder.keyring

        def change(stored: bytes) -> bytes | None:
            try:
                return keyring.encrypt(keyring.decrypt(stored))
            except KeyFileError:
                return None

        number, lost = reencrypt_secrets(database, change)
        if forget_old:
            folder.registry.apps.revoke_all_bearers()
            # A server may have encrypted a secret with the old key and not yet stored it.
            typer.echo(f"Waiting {GRACE_S:g} s until servers have stored new secrets ...", err=True)
            time.sleep(GRACE_S)
            reencrypt_secrets(database, change)
            if in_file:
                remove_old_keys(data / KEY_FILE)
    notes = [(FORGOTTEN if in_file else FORGOTTEN_OUTSIDE) if forget_old else KEPT]
    if lost:
        notes.append(f"{lost} secrets cannot be decrypted with any key and were not changed.")
    show({"reencrypted": number, "unreadable": lost}, as_json=json, notes=tuple(notes))


@contextmanager
def _only_rotation(data: Path) -> Iterator[None]:
    """Refuse a second rotation: it could remove the key that the first has just created."""
    with hold_lock(data / "rotation.lock", wait=False) as held:
        if not held:
            fail("another command is rotating the keys of this folder; wait until it ends")
        remove_temporary(data / KEY_FILE)  # a rotation that was killed may have left old keys
        yield
