"""The keys that stored secrets are encrypted under."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from openengagement.auth.credentials import (
    KeyFileError,
    Keyring,
    add_key,
    forget_old_keys,
    generate_key,
)
from openengagement.cli.common import Json, fail, opened, read_settings, show
from openengagement.data_folder import KEY_FILE
from openengagement.files import hold_lock
from openengagement.registry.registry import BUSY_TIMEOUT_S

key = typer.Typer(help="The keys that stored secrets are encrypted under.", no_args_is_help=True)

GRACE_S = BUSY_TIMEOUT_S + 2
FORGOTTEN = "The old keys are gone and all bearer tokens died; apps fetch new ones."
FORGOTTEN_OUTSIDE = (
    "All bearer tokens died; apps fetch new ones. Now take the other keys out of "
    "OPENENGAGEMENT_SERVER_KEYS and restart."
)
KEPT = "The old keys stay readable. After a leak, run it with --forget-old."


@key.command("generate")
def generate(json: Json = False) -> None:
    """Print a fresh key, for OPENENGAGEMENT_SERVER_KEYS; nothing is changed."""
    made = generate_key()
    if json:
        show({"key": made}, as_json=True)
    else:
        typer.echo(made)


@key.command("rotate")
def rotate(
    context: typer.Context,
    forget_old: Annotated[
        bool,
        typer.Option(
            "--forget-old",
            help="Forget the old keys, as after a leak; bearer tokens, derived from them, die.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Encrypt every stored secret under a new key, while servers run or not.

    With OPENENGAGEMENT_SERVER_KEYS set, the first key there is the new one: put it before the
    others, restart, then run this.
    """
    folder: Path = context.obj
    in_file = not read_settings().server_keys
    with opened(context) as parts, _only_rotation(folder):
        keyring: Keyring = add_key(folder / KEY_FILE) if in_file else parts.keyring

        def change(stored: bytes) -> bytes | None:
            try:
                return keyring.encrypt(keyring.decrypt(stored))
            except KeyFileError:
                return None

        number, lost = parts.registry.reencrypt(change)
        if forget_old:
            parts.registry.kill_bearers()
            # A server may still wait to store what it encrypted under the old key just before.
            typer.echo(f"Waiting {GRACE_S:g} s for what servers are about to store ...", err=True)
            time.sleep(GRACE_S)
            parts.registry.reencrypt(change)
            if in_file:
                forget_old_keys(folder / KEY_FILE)
    notes = [(FORGOTTEN if in_file else FORGOTTEN_OUTSIDE) if forget_old else KEPT]
    if lost:
        notes.append(f"{lost} secrets open with none of the keys and were left as they are.")
    show({"reencrypted": number, "unreadable": lost}, as_json=json, notes=tuple(notes))


@contextmanager
def _only_rotation(folder: Path) -> Iterator[None]:
    """Refuse a second rotation: it could remove the key that the first has just created."""
    with hold_lock(folder / "rotation.lock", wait=False) as held:
        if not held:
            fail("another command is rotating the keys of this folder; wait until it ends")
        yield
