"""The keys that stored secrets are encrypted under."""

from pathlib import Path
from typing import Annotated

import typer

from openengagement.auth.credentials import Keyring, add_key, forget_old_keys, generate_key
from openengagement.cli.common import Json, opened, read_settings, show
from openengagement.folder import KEY_FILE

key = typer.Typer(help="The keys that stored secrets are encrypted under.", no_args_is_help=True)

FORGOTTEN = "The old keys are gone and all bearer tokens died; apps fetch new ones."
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
    with opened(context) as parts:
        keyring: Keyring = add_key(folder / KEY_FILE) if in_file else parts.keyring

        def change(stored: bytes) -> bytes:
            return keyring.encrypt(keyring.decrypt(stored))

        number = parts.registry.reencrypt(change, kill_bearers=forget_old)
        if forget_old and in_file:
            # A server may have waited to store what it encrypted under the old key just before.
            parts.registry.reencrypt(change, kill_bearers=False)
            forget_old_keys(folder / KEY_FILE)
    note = FORGOTTEN if forget_old else KEPT
    show({"reencrypted": number}, as_json=json, notes=(note,))
